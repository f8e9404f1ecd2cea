"""What every connection of a run needs: made once per run, and never changed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from epollo.bench.load.expect import Expectation
from epollo.bench.messages import Messages
from epollo.bench.run.expired import ExpiredRequests
from epollo.bench.run.metrics import RunCounters
from epollo.bench.workload import Workload
from epollo.client.match import Match
from epollo.engine import Connection, Limits
from epollo.filters.base import Filter
from epollo.framing import Framing


@dataclass(frozen=True, kw_only=True, slots=True)
class RunContext:
    """The settings and the shared objects of one run.

    Attributes:
        workload: what is run.
        framing, limits, filters: what the engine asks a protocol for.
        payload: makes the messages, and says what is wrong with a reply.
        messages: makes the messages; the backend's form of ``payload``.
        expectation: what a correct reply is.
        match: where messages and replies have their identifier; None: matched in their order.
        counters: the figures of the run.
        expired: messages given up, to which a reply may still come.
        preamble: the message sent first on each connection; None if there is none.
        call_later: the loop's, in seconds.
        timeout_ns: of each connect and each reply.
        retire_after: messages after which a connection is replaced.
        watch_all: every reply needs more than the next message.
    """

    workload: Workload
    framing: Framing
    limits: Limits
    filters: Callable[[Connection], Sequence[Filter]] | None
    payload: Messages
    messages: Any
    expectation: Expectation
    match: Match | None
    counters: RunCounters
    expired: ExpiredRequests
    preamble: bytes | None
    call_later: Callable[[float, Callable[[], object]], object]
    timeout_ns: int
    retire_after: int
    watch_all: bool
