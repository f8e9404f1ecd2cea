"""The messages between the process of a shard and the one that started it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from epollo.bench.results.figures import RunFigures
from epollo.bench.results.histogram import Histogram
from epollo.bench.results.result import Result
from epollo.bench.results.second import Second
from epollo.errors import ConnectError, EpolloError


@dataclass(frozen=True, slots=True)
class Ready:
    """The shard waits for `Go`: to begin the opening, and then the warm-up."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The run of the shard is over. ``refusal``: why no connection could be made, if none could."""

    result: Result
    refusal: ConnectError | None


@dataclass(frozen=True, slots=True)
class Closed:
    """A second of the shard that takes no more replies."""

    second: Second


@dataclass(frozen=True, slots=True)
class Amended:
    """``more`` values of the closed second of that number, all the same."""

    number: int
    more: tuple[Histogram, Histogram, Histogram]


@dataclass(frozen=True, slots=True)
class Go:
    """Continue ``at`` that time, in ns of CLOCK_MONOTONIC, which all processes share."""

    at: int


@dataclass(frozen=True, slots=True)
class Stop:
    """End early; ``interrupted`` as in `Driver.stop`."""

    interrupted: bool


FromShard: TypeAlias = Ready | RunFigures | Second | Closed | Amended | Outcome | EpolloError
ToShard: TypeAlias = Go | Stop
