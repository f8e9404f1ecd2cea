"""What the pages of a server need to know of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from epollo.control.inquirer import Answer, Values


@dataclass(frozen=True, slots=True)
class SupervisorFigures:
    """What a supervisor has and has counted: ``workers`` by stage, those ``ended`` by cause, and
    ``reloads`` by result."""

    workers: Mapping[str, int]
    ended: Mapping[str, int]
    reloads: Mapping[str, int]


class WatchedServer(Protocol):
    """A server of one process, or a supervisor. In the thread of its loop."""

    @property
    def answers(self) -> bool:
        """Does it work: does a loop that serves connections answer, or is the server starting?"""

    @property
    def ready(self) -> bool:
        """Does it serve, with no stop begun, or asked for?"""

    def figures(self, answers: Sequence[Answer]) -> Mapping[int, Values]:
        """By slot, the sums of the figures of the processes that are, or were, in it. ``answers``
        are what they have said just now."""

    def supervisor(self) -> SupervisorFigures | None:
        """None if there is none."""
