"""Servers without a framing, that do to each connection what a test says."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TypeAlias

from epollo import address
from tests.support import DEADLINE, Peer, frame

SIZE = 64  # of the tester's messages
TALK = 10  # messages that are answered before a server goes wrong


class Accepted(Peer):
    """The server's end of a connection."""

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        sock.settimeout(DEADLINE)

    def next_frame(self) -> bytes:
        """Receive one u32 frame from the tester."""
        return self.receive(len(frame(bytes(SIZE))))

    def talk(self) -> None:
        """Answer some messages correctly."""
        for _ in range(TALK):
            self.send(self.next_frame())

    def hold(self) -> None:
        """Send nothing more, until the tester closes."""
        self.receive_all()


Serve: TypeAlias = Callable[[Accepted], object]


@contextmanager
def hostile(serve: Serve) -> Iterator[str]:
    """A server that does ``serve`` to each connection, all at once; gives its address."""
    threads: list[threading.Thread] = []

    def serve_one(peer: Accepted) -> None:
        with peer, suppress(OSError):  # the tester has gone
            serve(peer)

    def accept_all() -> None:
        while True:
            try:
                peer = Accepted(listener.accept()[0])
            except OSError:  # EINVAL: shut down
                return
            threads.append(threading.Thread(target=serve_one, args=(peer,)))
            threads[-1].start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        accepting = threading.Thread(target=accept_all)
        accepting.start()
        try:
            yield str(address.of(listener.getsockname()))
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            for thread in (accepting, *threads):
                thread.join()
