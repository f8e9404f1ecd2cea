"""Requests sent ahead of the replies taken, for `Client.requests`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator
from itertools import islice
from operator import length_hint
from typing import Self

from epollo.client.blocking.connection import PendingReply, SyncConnection
from epollo.client.blocking.deadline import Deadline
from epollo.client.outstanding import OutstandingById
from epollo.errors import EncodeError, UsageError
from epollo.framing import Buffer


def pipeline(connection: SyncConnection, messages: Iterator[Buffer], window: int) -> Pipeline:
    """``messages`` to send on ``connection``, at most ``window`` ahead of the replies taken."""
    if connection.by_id is not None:
        return _ById(connection, connection.by_id, messages, window)
    return _InOrder(connection, messages, window)


class Pipeline(ABC):
    """Sends again once half of the window is free, so that many frames are sent together. A context
    manager: meanwhile no other request is sent on the connection."""

    def __init__(self, connection: SyncConnection, messages: Iterator[Buffer], window: int) -> None:
        self._connection = connection
        self._messages = messages
        self._window = window
        self._low = window // 2
        self._unsent = bytearray()
        self._refused: EncodeError | UsageError | None = None  # the first message not to be sent
        self._taken: Iterator[bytes] = iter(())

    def __enter__(self) -> Self:
        self._connection.pipelining = True
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.pipelining = False
        self._stop()

    def replies(self, new_deadline: Callable[[], Deadline]) -> Iterator[bytes] | None:
        """Send messages, and wait until a deadline of its own for the next replies, in the order of
        their messages. None behind the last one. Raises the error of a message that is not sent
        once the replies before it were taken."""
        connection = self._connection
        if self._open <= self._low and self._refused is None:
            self._pack()
            connection.send_some(self._unsent)
        if self._open:
            self._wait(new_deadline())
            self._taken = iter(self._take())
            return self._taken
        if self._unsent:  # the server has replied before it had the whole message
            connection.send_rest(self._unsent, new_deadline())
        connection.replied = True
        if self._refused is not None:
            raise self._refused
        return None

    def _most_to_take(self) -> int:
        """How many replies are taken before more messages are sent."""
        return self._open if self._refused is not None else max(1, self._open - self._low)

    @property
    @abstractmethod
    def _open(self) -> int:
        """Requests whose replies were not taken."""

    @abstractmethod
    def _pack(self) -> None:
        """Add the frames of messages until the window is full, or one is refused."""

    @abstractmethod
    def _wait(self, deadline: Deadline) -> None:
        """Read until the next reply has come."""

    @abstractmethod
    def _take(self) -> list[bytes]:
        """The replies that have come, at most `_most_to_take`; they are no more open."""

    def _stop(self) -> None:
        """No more replies are taken."""
        if self._unsent:
            self._connection.abort("not all messages of requests() were sent")


class _InOrder(Pipeline):
    """Each message received is the reply to the oldest request."""

    _open = 0

    def _pack(self) -> None:
        frames: list[bytes] = []
        messages = islice(self._messages, self._window - self._open)
        try:
            frames += map(self._connection.encode, messages)  # up to one that is refused
        except (EncodeError, UsageError) as error:
            self._refused = error
        self._unsent += b"".join(frames)
        self._open += len(frames)
        self._connection.awaited += len(frames)

    def _wait(self, deadline: Deadline) -> None:
        while not self._connection.replies:
            self._connection.read(deadline, self._unsent)

    def _take(self) -> list[bytes]:
        take = self._connection.replies.popleft
        count = min(len(self._connection.replies), self._most_to_take())
        self._open -= count
        return [take() for _ in range(count)]

    def _stop(self) -> None:
        if self._open or length_hint(self._taken):
            self._connection.abort("not all replies of requests() were taken")
        super()._stop()


class _ById(Pipeline):
    """Replies are matched: later ones may come before the reply to the oldest request."""

    def __init__(
        self,
        connection: SyncConnection,
        table: OutstandingById[PendingReply],
        messages: Iterator[Buffer],
        window: int,
    ) -> None:
        super().__init__(connection, messages, window)
        self._table = table
        self._replies: deque[PendingReply] = deque()

    @property
    def _open(self) -> int:
        return len(self._replies)

    def _pack(self) -> None:
        add = self._connection.add_by_id
        try:
            for message in islice(self._messages, self._window - self._open):
                reply = PendingReply()
                self._unsent += add(self._table, message, reply)
                self._replies.append(reply)
        except (EncodeError, UsageError) as error:
            self._refused = error

    def _wait(self, deadline: Deadline) -> None:
        while self._replies[0].message is None:
            self._connection.read(deadline, self._unsent)

    def _take(self) -> list[bytes]:
        replies, taken = self._replies, list[bytes]()
        for _ in range(self._most_to_take()):
            if (message := replies[0].message) is None:
                break
            replies.popleft()
            taken.append(message)
        return taken

    def _stop(self) -> None:
        for reply in self._replies:
            reply.given_up = True
        super()._stop()
