"""The transport of the blocking client, which waits for the socket until a deadline."""

from __future__ import annotations

import select
import socket

from epollo.client.blocking.deadline import Deadline, DeadlinePassed
from epollo.client.transport import Transport


class SyncTransport(Transport):
    """Waits for what cannot be done now. Raises OSError if the connection fails, and
    DeadlinePassed."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(sock)
        self._poll = select.poll()

    def send(self, data: bytes, deadline: Deadline) -> None:
        """Send all of ``data``."""
        unsent = memoryview(data)
        while unsent:
            if sent := self.try_send(unsent):
                unsent = unsent[sent:]
            else:
                self._wait(deadline)

    def receive(self, deadline: Deadline, unsent: bytearray | None = None) -> bytes:
        """The next bytes received; empty at the end. Meanwhile sends from ``unsent``: a peer whose
        replies are not read may stop reading."""
        while True:
            if unsent:
                self.send_some(unsent)
            data = self.receive_now()
            if data is not None:
                return data
            self._wait(deadline)

    def close(self, deadline: Deadline, *, wait: bool) -> None:
        """End the outgoing stream and close. With ``wait``, first wait for the peer's end.

        Raises OSError if the connection fails meanwhile, and DeadlinePassed.
        """
        nothing = bytearray()
        try:
            while not self.finish(nothing) and wait:
                self._wait(deadline)
        except DeadlinePassed as passed:
            passed.unsent = self.unsent() > 0
            self.abort()
            raise
        except BaseException:
            self.abort()
            raise
        self.release()

    def _wait(self, deadline: Deadline) -> None:
        """Wait for the events that the calls before needed."""
        seconds = deadline.remaining()
        self._poll.register(self._socket, self.events)
        self.events = 0
        self._poll.poll(None if seconds is None else seconds * 1000)
