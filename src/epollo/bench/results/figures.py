"""The counts of a run while it goes on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

_COUNTS = ("sent", "answered", "bytes_sent", "bytes_received", "outstanding", "opened", "open")


@dataclass(frozen=True, slots=True)
class RunFigures:
    """The counts so far.

    Attributes:
        sent, answered, bytes_sent, bytes_received: of the window, as in Result.
        outstanding: messages sent and not yet answered, now.
        opened, open: connections opened so far, and those open now.
        errors: how often each kind of error occurred, also before the window.
        lost: connections that were open and ended before the run did, by the reason.
    """

    sent: int
    answered: int
    bytes_sent: int
    bytes_received: int
    outstanding: int
    opened: int
    open: int
    errors: dict[str, int]
    lost: dict[str, int]

    @classmethod
    def sum(cls, parts: Iterable[Self]) -> Self:
        """Those of several processes together."""
        every = list(parts)
        errors: Counter[str] = Counter()
        lost: Counter[str] = Counter()
        for part in every:
            errors.update(part.errors)
            lost.update(part.lost)
        counts = {name: sum(getattr(part, name) for part in every) for name in _COUNTS}
        return cls(**counts, errors=dict(errors), lost=dict(lost))
