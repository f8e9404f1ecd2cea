"""The messages between the process of a shard and the one that started it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from epollo.bench.results.result import Result, Second
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
class Go:
    """Continue ``at`` that time, in ns of CLOCK_MONOTONIC, which all processes share."""

    at: int


@dataclass(frozen=True, slots=True)
class Stop:
    """End early."""


FromShard: TypeAlias = Ready | Second | Outcome | EpolloError
ToShard: TypeAlias = Go | Stop
