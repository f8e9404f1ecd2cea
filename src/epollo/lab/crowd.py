"""A crowd of idle connections, real ones, both ends in this process."""

from __future__ import annotations

import fcntl
import socket
import struct
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from epollo.descriptors import SPARE, require
from epollo.engine.python.poller import SELECT_LIMIT
from epollo.errors import UsageError

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER, 0 s: leaves no TIME_WAIT behind (socket(7))


@dataclass(frozen=True, slots=True)
class Crowd:
    """One connection to be active and any number to be idle; ``near`` ends are watched."""

    near: socket.socket
    far: socket.socket
    idle: list[socket.socket]


@contextmanager
def crowd(count: int, limit: int) -> Iterator[Crowd]:
    """``count`` idle connections and an active one, over TCP on 127.0.0.1, accepted.

    Two descriptors a connection would bring select to its end at 500 connections. So the far
    ends, which nobody watches, are moved up and out of the way: the watched ends get the numbers
    from about 10 on without a gap, the active one the first, and select as many as it can take.

    Raises UsageError where ``limit`` descriptors are too few.
    """
    require(most_needed(count), limit, f"{count:,} idle connections")
    floor = max(SELECT_LIMIT, count + SPARE)
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        try:
            near, far = _connect(listener, floor, stack)
            idle = [_connect(listener, floor, stack)[0] for _ in range(count)]
        except OSError as error:  # EMFILE, or EADDRNOTAVAIL: all ports used up (ip(7))
            cause = (error.strerror or str(error)).lower()
            raise UsageError(f"cannot open {count:,} connections: {cause}; take fewer") from error
        yield Crowd(near, far, idle)


def most_needed(count: int) -> int:
    """The highest descriptor number that a crowd of ``count`` comes to, about."""
    return max(SELECT_LIMIT, count + SPARE) + count + SPARE


def largest(limit: int) -> int:
    """The largest crowd for ``limit`` descriptors; below 0 where there is none."""
    return min(limit - SELECT_LIMIT - SPARE, (limit - 2 * SPARE) // 2)


def _connect(
    listener: socket.socket, floor: int, stack: ExitStack
) -> tuple[socket.socket, socket.socket]:
    """A connection's accepted end, and its far end at a number not below ``floor``."""
    with socket.create_connection(listener.getsockname()) as low:
        far = socket.socket(fileno=fcntl.fcntl(low.fileno(), fcntl.F_DUPFD_CLOEXEC, floor))
        stack.enter_context(far)
    far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    near, _ = listener.accept()  # the kernel gives the lowest free number: the one just left
    stack.enter_context(near)
    return near, far
