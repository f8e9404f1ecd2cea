"""Requests sent ahead of the replies taken, for `Client.requests`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator
from itertools import islice

from epollo.client.blocking.call import Call
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
    """Sends again once half of the window is free, so that many frames are sent together."""

    def __init__(self, connection: SyncConnection, messages: Iterator[Buffer], window: int) -> None:
        self._connection = connection
        self._messages = messages
        self._window = window
        self._low = window // 2
        self._unsent = bytearray()
        self._refused: EncodeError | UsageError | None = None  # the first message not to be sent

    def replies(self, call: Call, new_deadline: Callable[[], Deadline]) -> Iterator[bytes]:
        """The reply to each message, in their order. ``call`` is held while the connection is in
        use; each wait for a reply has a deadline of its own."""
        self._connection.pipelining = True
        try:
            while True:
                with call:
                    if self._open <= self._low and self._refused is None:
                        self._pack()
                        self._connection.send_some(self._unsent)
                    if not self._open:
                        break
                    self._wait(new_deadline())
                yield from self._take()
        finally:
            self._connection.pipelining = False
            self._stop()
        self._connection.replied = True
        if self._refused is not None:
            raise self._refused

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
    def _take(self) -> Iterator[bytes]:
        """The replies that have come, at most `_most_to_take`."""

    @abstractmethod
    def _stop(self) -> None:
        """No more replies are taken."""


class _InOrder(Pipeline):
    """Each message received is the reply to the oldest request."""

    _open = 0

    def _pack(self) -> None:
        added = 0
        encode = self._connection.encode
        try:
            for message in islice(self._messages, self._window - self._open):
                self._unsent += encode(message)
                added += 1
        except (EncodeError, UsageError) as error:
            self._refused = error
        self._open += added
        self._connection.awaited += added

    def _wait(self, deadline: Deadline) -> None:
        while not self._connection.replies:
            self._connection.read(deadline, self._unsent)

    def _take(self) -> Iterator[bytes]:
        replies = self._connection.replies
        for _ in range(min(len(replies), self._most_to_take())):
            self._open -= 1
            yield replies.popleft()

    def _stop(self) -> None:
        if self._open:
            self._connection.abort("not all replies of requests() were taken")


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

    def _take(self) -> Iterator[bytes]:
        replies = self._replies
        for _ in range(self._most_to_take()):
            if (message := replies[0].message) is None:
                break
            replies.popleft()
            yield message

    def _stop(self) -> None:
        for reply in self._replies:
            reply.given_up = True
        if self._unsent:
            self._connection.abort("not all messages of requests() were sent")
