"""The two rooms of what is done for each message: Python's to be read, the native one to be run."""

from __future__ import annotations

from typing import Any

from epollo.engine import EventLoop


def tally_class(loop: EventLoop) -> Any:
    """Of the room that goes with the loop's engine."""
    if loop.name == "native":
        from epollo.bench.native.tally import Tally as NativeTally

        return NativeTally
    from epollo.bench.python.tally import Tally

    return Tally


def exchange_class(loop: EventLoop) -> Any:
    """Of the room that goes with the loop's engine."""
    if loop.name == "native":
        from epollo.bench.native.exchange import Exchange as NativeExchange

        return NativeExchange
    from epollo.bench.python.exchange import Exchange

    return Exchange


def messages_of(loop: EventLoop, payload: Any) -> Any:
    """What exchanges of that room have their messages from."""
    if loop.name == "native":
        from epollo.bench.native.messages import Messages

        return Messages(payload)
    return payload
