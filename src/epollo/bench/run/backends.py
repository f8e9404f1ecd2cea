"""The two implementations of what is done for each message: Python's, and the native one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Backend:
    """One of the two.

    Attributes:
        counters: the class that connections count and record in.
        pipeline: the class of one connection.
        matched: the same for replies that are matched by an identifier.
        one_way: the same for messages without replies.
        pacer: the class that sends by the clock.
        messages: given the payload and the framing of a run, returns what makes its messages.
    """

    counters: Any
    pipeline: Any
    matched: Any
    one_way: Any
    pacer: Any
    messages: Any


def backend_of(engine: str) -> Backend:
    """The backend of the engine with that name."""
    if engine == "native":
        from epollo.bench.run.native.counters import MessageCounters as NativeCounters
        from epollo.bench.run.native.matched import MatchedPipeline as NativeMatched
        from epollo.bench.run.native.messages import Messages
        from epollo.bench.run.native.one_way import OneWayPipeline as NativeOneWay
        from epollo.bench.run.native.pacer import Pacer as NativePacer
        from epollo.bench.run.native.pipeline import Pipeline as NativePipeline

        return Backend(
            NativeCounters, NativePipeline, NativeMatched, NativeOneWay, NativePacer, Messages
        )
    from epollo.bench.run.python.counters import MessageCounters
    from epollo.bench.run.python.matched import MatchedPipeline
    from epollo.bench.run.python.one_way import OneWayPipeline
    from epollo.bench.run.python.pacer import Pacer
    from epollo.bench.run.python.pipeline import Pipeline

    return Backend(MessageCounters, Pipeline, MatchedPipeline, OneWayPipeline, Pacer, _unchanged)


def _unchanged(payload: Any, framing: Any) -> Any:
    return payload
