"""Waking a loop that waits, from another thread or from a signal handler."""

from __future__ import annotations

import socket


class Waker:
    """A socket pair: a byte written at one end makes the other ready in the loop's poller."""

    __slots__ = ("receiver", "sender")

    def __init__(self) -> None:
        self.receiver, self.sender = socket.socketpair()
        self.receiver.setblocking(False)
        self.sender.setblocking(False)

    def wake(self) -> None:
        try:
            self.sender.send(b"\0")
        except OSError:  # full of bytes not yet read, so awake already; or closed, so past waking
            pass

    def ready(self, events: int) -> None:
        try:
            self.receiver.recv(4096)
        except BlockingIOError:
            pass

    def abort(self) -> None:
        self.receiver.close()
        self.sender.close()
