"""Replies that an async generator makes: each message is sent as it is made, and the generator goes
on when the peer has taken enough."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable
from functools import partial
from typing import Any

from epollo.engine.replies import MOST_BYTES, MOST_MESSAGES, is_message, size_of
from epollo.server.handlers.pending import PendingCall, PendingCalls


def is_generated(reply: object) -> bool:
    """Is it an async iterable of messages, such as an async generator?"""
    return hasattr(type(reply), "__aiter__")


async def send_generated(
    messages: AsyncIterable[Any], call: PendingCall, calls: PendingCalls
) -> None:
    """Send the ``messages``, which are the reply of ``call``, behind the replies before it. In the
    task that ``call`` is to cancel. Raises what the generator raises."""
    loop, cancel, running = asyncio.get_running_loop(), call.cancel, call.running
    count = size = 0
    try:
        async for message in messages:
            if not is_message(message):
                kind = type(message).__name__
                raise TypeError(f"handler's async generator yielded {kind}; yield bytes")
            taken = loop.create_future()
            calls.end(call, [message], more=partial(_resolve, taken))
            count, size = count + 1, size + size_of(message)
            if count >= MOST_MESSAGES or size >= MOST_BYTES:  # others wait too
                count = size = 0
                await asyncio.sleep(0)
            await taken
            if not call.connection.answers:
                break
            calls.resume(call, running)
            call.cancel = cancel
    finally:
        await _close(messages, call)


async def _close(messages: AsyncIterable[Any], call: PendingCall) -> None:
    """End a generator, which may have something to release. Nothing if it has ended."""
    close = getattr(messages, "aclose", None)
    if close is not None:
        try:
            await close()
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            call.connection.loop.report(error, "the handler's reply raised when it was closed")


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
