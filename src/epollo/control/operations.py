"""What an operator may do to a running server."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from epollo.control.inquirer import Answer, Values

Done: TypeAlias = Callable[[Values], object]
"""Is called once with the result of an operation; ``{"error": text}`` if it has failed."""


class Refused(Exception):
    """An operation that is not begun; the text says why, in one line."""


@dataclass(frozen=True, slots=True)
class ProcessState:
    """One process of a server, as its supervisor knows it."""

    process: int
    """Its number, as in ``ps``."""
    slot: int | None
    """The index of its place among the workers; None in a server of one process."""
    stage: str
    """``boots``, ``serves`` or ``drains``."""
    age: float
    """Seconds since it was started."""


class Operations(Protocol):
    """A server that can be controlled. In the thread of its loop. An operation that is not
    possible now raises `Refused`; one that fails later gives ``done`` the error."""

    def overview(self) -> Values:
        """``pid``, ``ready_line`` (empty before all serve), ``stage``, ``uptime`` in seconds;
        ``workers``, how many are wanted; and ``before``, the process of a supervisor that has
        handed over and still drains. Both are None in a server of one process."""

    def totals(self, answers: Sequence[Answer]) -> Values:
        """The sum of all that was counted, also by processes that have ended; ``answers`` are what
        those of now have just said to ``figures``."""

    def processes(self) -> Sequence[ProcessState]:
        """All processes that boot, serve or drain."""

    def stop(self) -> Values:
        """As SIGTERM."""

    def drain(self, slot: int, done: Done) -> None:
        """Another worker takes the place of the one in this slot, which drains. ``done`` is called
        when the new one serves, or does not boot."""

    def reload(self, done: Done) -> None:
        """As SIGHUP. ``done`` is called when all workers are replaced, or the reload is given
        up."""

    def scale(self, by: int) -> Values:
        """Add ``by`` workers, 1 or -1, as SIGTTIN and SIGTTOU."""

    def log_level(self, level: str | None, logger: str) -> Values:
        """Set the level of a logger in a supervisor, from which workers that are forked later have
        it; a server of one process does nothing. With None, only check."""
