"""The two rooms of what is done for each message: Python's to be read, the native one to be run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Room:
    """One of the two.

    Attributes:
        tally: the class of what the exchanges of a run count in.
        exchange: the class of what one connection says and hears.
        pacer: the class of what sends by the clock.
        messages: what exchanges of this room have their messages from, of the run's payload,
            in its framing.
    """

    tally: Any
    exchange: Any
    pacer: Any
    messages: Any


def room_of(engine: str) -> Room:
    """The room that goes with the engine of that name."""
    if engine == "native":
        from epollo.bench.run.native.exchange import Exchange as NativeExchange
        from epollo.bench.run.native.messages import Messages
        from epollo.bench.run.native.pacer import Pacer as NativePacer
        from epollo.bench.run.native.tally import Tally as NativeTally

        return Room(NativeTally, NativeExchange, NativePacer, Messages)
    from epollo.bench.run.python.exchange import Exchange
    from epollo.bench.run.python.pacer import Pacer
    from epollo.bench.run.python.tally import Tally

    return Room(Tally, Exchange, Pacer, _as_they_are)


def _as_they_are(payload: Any, framing: Any) -> Any:
    return payload
