"""What a process of a load test and the one that started it say to each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from epollo.bench.results.result import Result, Second
from epollo.errors import ConnectError, EpolloError


@dataclass(frozen=True, slots=True)
class Ready:
    """It waits to be told when to go on: with the opening; with the warm-up, when all is open."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """Its run is over; ``refusal`` says why no connection could be made, if none could."""

    result: Result
    refusal: ConnectError | None


@dataclass(frozen=True, slots=True)
class Go:
    """Go on ``at`` that time, in ns of CLOCK_MONOTONIC, which all processes share."""

    at: int


@dataclass(frozen=True, slots=True)
class Stop:
    """End early."""


Report: TypeAlias = Ready | Second | Outcome | EpolloError
Order: TypeAlias = Go | Stop
