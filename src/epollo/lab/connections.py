"""Real TCP connections, one active and many idle, with both ends in this process."""

from __future__ import annotations

import fcntl
import socket
import struct
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from epollo.causes import cause_of
from epollo.descriptors import SPARE, require
from epollo.engine.python.poller import SELECT_LIMIT
from epollo.errors import UsageError

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER of 0 s: no TIME_WAIT (socket(7))


@dataclass(frozen=True, slots=True)
class Connections:
    """An active connection and any number of idle ones; the ``near`` ends are watched."""

    near: socket.socket
    far: socket.socket
    idle: list[socket.socket]


@contextmanager
def open_connections(count: int, limit: int) -> Iterator[Connections]:
    """``count`` idle connections and an active one, over TCP on 127.0.0.1, accepted.

    With two descriptors a connection, select would reach its limit at 500 connections. So the far
    ends, which are not watched, get high numbers. The watched ends get consecutive numbers from
    about 10, the active one the lowest, so that select can watch as many as possible.

    Raises UsageError if ``limit`` descriptors are too few.
    """
    require(highest_descriptor(count), limit, f"{count:,} idle connections")
    floor = max(SELECT_LIMIT, count + SPARE)
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        try:
            near, far = _connect(listener, floor, stack)
            idle = [_connect(listener, floor, stack)[0] for _ in range(count)]
        except OSError as error:  # EMFILE, or EADDRNOTAVAIL: no port is left (ip(7))
            raise UsageError(
                f"cannot open {count:,} connections: {cause_of(error)}; take fewer"
            ) from error
        yield Connections(near, far, idle)


def highest_descriptor(count: int) -> int:
    """About the highest descriptor number that ``count`` idle connections use."""
    return max(SELECT_LIMIT, count + SPARE) + count + SPARE


def largest_count(limit: int) -> int:
    """The most idle connections that ``limit`` descriptors allow; negative if too few for any."""
    return min(limit - SELECT_LIMIT - SPARE, (limit - 2 * SPARE) // 2)


def _connect(
    listener: socket.socket, floor: int, stack: ExitStack
) -> tuple[socket.socket, socket.socket]:
    """A connection's accepted end, and its far end with a number of at least ``floor``."""
    with socket.create_connection(listener.getsockname()) as low:
        far = socket.socket(fileno=fcntl.fcntl(low.fileno(), fcntl.F_DUPFD_CLOEXEC, floor))
        stack.enter_context(far)
    far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    near, _ = listener.accept()  # the kernel gives the lowest free number: the one just freed
    stack.enter_context(near)
    return near, far
