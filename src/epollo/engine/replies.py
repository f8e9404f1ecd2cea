"""What a handler may return; and replies of several messages, made as the peer takes them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from epollo.engine.interface import ConnectionContext, Reply
from epollo.engine.pauses import FAILED, HIGH_WATER, IN_FLIGHT, REPLYING
from epollo.framing import Buffer
from epollo.reasons import CloseReason

MOST_MESSAGES = 256  # of one reply in one turn, and
MOST_BYTES = 256 << 10  # so that a peer that takes all at once does not keep others waiting


def is_message(reply: object) -> bool:
    """Is it one message, and not an iterable of them?"""
    return isinstance(reply, bytes | bytearray | memoryview)


def messages_of(reply: Reply) -> Iterator[Buffer]:
    """The messages that ``reply`` consists of. Raises TypeError if it is no reply."""
    if reply is None:
        return iter(())
    if is_message(reply):
        return iter((reply,))  # type: ignore[arg-type]
    if isinstance(reply, str) or not isinstance(reply, Iterable):
        kind = type(reply).__name__
        raise TypeError(f"handler returned {kind}; return bytes, None, or an iterable of bytes")
    return iter(reply)  # type: ignore[arg-type]


def size_of(reply: Any) -> int:
    """The bytes of ``reply`` that are in memory: none of an iterable that is still to make them."""
    if is_message(reply):
        return len(reply)
    return sum(map(size_of, reply)) if isinstance(reply, list | tuple) else 0


class Replies:
    """Replies of one connection that are not queued whole: of the first, messages are made as the
    peer takes them; the others came later, and wait for it. In the loop's thread.

    Each has a function ``done``, which is called once: when the next reply may be sent, or when
    this one will not be, because the connection is closed.
    """

    __slots__ = ("_busy", "_connection", "_replies", "_scheduled", "_waiting")

    def __init__(self, connection: ReplyingConnection) -> None:
        self._connection = connection
        self._replies: deque[tuple[Iterator[Buffer], int, Callable[[], object]]] = deque()
        self._waiting = 0  # bytes of those behind the first
        self._busy = self._scheduled = False

    def add(self, reply: Reply, done: Callable[[], object]) -> None:
        """Send ``reply`` behind those that are here. Raises TypeError if it is no reply."""
        try:
            messages, size = messages_of(reply), size_of(reply)
            if self._connection.over_max_unsent(self._waiting):
                self._connection.drop(CloseReason.SLOW_CONSUMER)
        except BaseException:
            done()
            raise
        if self._connection.closed:
            done()
            return
        if self._replies:
            self._waiting += size
        self._replies.append((messages, size, done))

    def begin(self) -> bool:
        """Queue what the peer takes of the first; true if that is all of it. Raises what the
        handler's iterable raises."""
        try:
            finished = not self._connection.over_high_water and self._advance()
        except BaseException:
            self.stop()
            raise
        if finished:
            self._next()
        return not self._replies

    def resume(self) -> None:
        """The peer may have taken enough: go on in the next turn, since others wait too."""
        if not self._scheduled and not self._connection.over_high_water:
            self._scheduled = True
            self._connection.context.loop.call_threadsafe(self._continue)

    def stop(self) -> None:
        """Nothing more can be sent."""
        replies, self._replies = self._replies, deque()
        self._waiting = 0
        for messages, _, done in replies:
            self._close(messages)
            done()

    def _continue(self) -> None:
        self._scheduled = False
        try:
            while self._replies and not self._connection.over_high_water:
                if not self._advance():
                    break
                self._next()
        except BaseException as error:
            self.stop()
            self._connection.handler_raised(error)
        if not self._replies:
            self._connection.replies_sent()
        else:
            self.resume()

    def _advance(self) -> bool:
        """Queue messages of the first reply; true if there are no more."""
        connection = self._connection
        messages, size = self._replies[0][0], 0
        self._busy = True
        try:
            for number, message in enumerate(messages, 1):
                size += connection.queue_message(message)
                if connection.closed:
                    break
                if connection.over_high_water or number == MOST_MESSAGES or size > MOST_BYTES:
                    return False
        finally:
            self._busy = False
        if connection.closed:  # `stop` was called, maybe by the iterable itself
            self._close(messages)
        return True

    def _next(self) -> None:
        if self._replies:  # else `stop` was called meanwhile
            _, _, done = self._replies.popleft()
            if self._replies:
                self._waiting -= self._replies[0][1]
            done()

    def _close(self, messages: Iterator[Buffer]) -> None:
        """End a generator, which may have something to release."""
        close: Callable[[], object] | None = getattr(messages, "close", None)
        if close is None or self._busy:
            return
        try:
            close()
        except BaseException as error:
            self._connection.context.loop.report(
                error, "the handler's reply raised when it was closed"
            )


_SLOTS_OF_THE_ENGINE: tuple[str, ...] = ()


class ReplyingConnection:
    """The part of a connection that replies pass through; those that are bytes, and returned at
    once, are the engine's."""

    __slots__ = _SLOTS_OF_THE_ENGINE

    context: ConnectionContext
    stage: int
    paused: int  # `Pause` flags
    in_flight: int  # messages handed to the handler whose replies come later

    # Methods of `BaseConnection`, and of the engine:
    queue: Callable[[bytes], None]
    schedule_update: Callable[[], None]
    over_max_unsent: Callable[[int], bool]
    drop: Callable[..., None]
    handler_raised: Callable[[BaseException], None]

    if TYPE_CHECKING:

        @property
        def closed(self) -> bool: ...

    @property
    def over_high_water(self) -> bool:
        return bool(self.paused & HIGH_WATER)

    @property
    def answers(self) -> bool:
        """Are replies to messages in flight still sent? Not after an error of the handler."""
        return not self.paused & FAILED

    def pause_for(self, cause: int) -> None:
        """Deliver no message for this ``cause``, too. A pause that begins is counted."""
        if not self.paused & cause:
            self.paused |= cause
            self.context.loop.pauses[cause] += 1

    def queue_message(self, message: Buffer) -> int:
        """Queue one message; returns the size of its frame."""
        frame = self.context.encode(message)
        self.queue(frame)
        return len(frame)

    def reply(self, reply: Reply, done: Callable[[], object] | None = None) -> None:
        """Queue what a handler returned: one message, or several of them as the peer takes them.
        Calls ``done`` when the next reply may be sent, or this one will not be."""
        replying = self.paused & REPLYING
        if not replying and is_message(reply):
            if done is not None:
                done()
            self.queue_message(reply)  # type: ignore[arg-type]
            return
        replies = self.context.loop.replies[self] if replying else Replies(self)
        replies.add(reply, done or _nothing)
        if not replying and not replies.begin():
            self.pause_for(REPLYING)
            self.context.loop.replies[self] = replies
            self.schedule_update()

    def replies_sent(self) -> None:
        """All replies are queued: deliver messages again."""
        self.paused &= ~REPLYING
        if self.context.loop.replies.pop(self, None) is not None:
            self.schedule_update()

    def defer(self, count: int = 1) -> None:
        """The reply to the message being handled comes later, by `answer`; it counts ``count``."""
        self._count_in_flight(count)

    def answer(self, reply: Reply, count: int = 1) -> None:
        """Send the reply to a deferred message."""
        self.answer_part(reply, partial(self._count_in_flight, -count))

    def answer_part(self, reply: Reply, done: Callable[[], object]) -> None:
        """Send some messages of such a reply. Calls ``done`` when the peer may be sent more, or
        will not be (`answers`)."""
        if reply is None or not self.answers:
            done()
        else:
            try:
                self.reply(reply, done)
            except BaseException as error:
                self.handler_raised(error)
        self.schedule_update()

    def fail(self, error: BaseException, count: int = 1) -> None:
        """The handler of a deferred message has raised: no reply comes."""
        self._count_in_flight(-count)
        self.handler_raised(error)

    def _count_in_flight(self, count: int) -> None:
        self.in_flight += count
        if self.in_flight >= self.context.protocol.limits.in_flight:
            self.pause_for(IN_FLIGHT)
        else:
            self.paused &= ~IN_FLIGHT


def _nothing() -> None:
    pass
