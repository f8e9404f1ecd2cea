"""A question to all processes of a server, and what each of them answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

Values = Mapping[str, Any]
"""What JSON can say."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What one process says."""

    process: int
    """Its number, as in ``ps``."""
    slot: int | None
    """The index of its place among the workers; None in a server of one process."""
    stage: str
    """``serves`` or ``drains``."""
    values: Values | None
    """None if it has not answered in time, or has ended meanwhile. The rows of a list are
    `named`."""


def with_rows(values: Values, question: str, rows: Sequence[Values]) -> Values:
    """The answer ``values``, whose ``rows`` were told apart. A list has the name of its
    question; an error has no rows."""
    return {**values, question: rows} if question in values and rows else values


def named(row: Values, process: int, slot: int | None) -> Values:
    """A row of a list with its process: a connection is PROCESS:NUMBER, as people write it, and a
    worker has its number."""
    return {**row, "id": f"{process}:{row['id']}", "worker": None if slot is None else slot + 1}


class Inquirer(Protocol):
    """Asks. In the thread of its loop."""

    def ask(
        self,
        question: str,
        done: Callable[[list[Answer]], object],
        *,
        process: int | None = None,
        **arguments: Any,
    ) -> None:
        """Ask every process that serves or drains, or only the one with that number. ``done`` is
        called once, with an answer of each: soon, though some do not answer. ``arguments`` are
        what JSON can say."""
