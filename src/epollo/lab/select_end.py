"""The limit of select, found by trying: the last descriptor watched and the first refused."""

from __future__ import annotations

import fcntl
import os
import select
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from epollo.descriptors import SPARE, require
from epollo.engine.events import READ
from epollo.engine.python.poller import SELECT_LIMIT, SelectPoller
from epollo.errors import EpolloError, PollerFull


@dataclass(frozen=True, slots=True)
class SelectEnd:
    """Two descriptors of one readable socket, and the results of watching each alone."""

    last: int  # watched, and reported ready
    refused: int  # the first past the limit
    engine_says: str | None  # the engine's error; None: it was watched
    python_says: str | None  # the error of select.select(), for libc's limit


def find_select_end(limit: int) -> SelectEnd:
    """Try select on either side of its limit. Raises UsageError if ``limit``, the number of
    descriptors allowed, is too low for that.
    """
    require(SELECT_LIMIT + SPARE, limit, f"experiments with descriptor {SELECT_LIMIT}")
    near, far = socket.socketpair()
    with near, far:
        far.send(b"x")
        with _numbered_below(near, SELECT_LIMIT) as last:
            _watch(last)
        with _numbered_from(near, SELECT_LIMIT) as refused:
            return SelectEnd(last, refused, _engine_says(refused), _python_says(refused))


def _watch(fd: int) -> None:
    poller = SelectPoller()
    poller.register(fd, READ)
    if poller.poll(1.0) != [(fd, READ)]:
        raise EpolloError(f"select does not see that descriptor {fd} is readable")


def _engine_says(fd: int) -> str | None:
    try:
        SelectPoller().register(fd, READ)
    except PollerFull as error:
        return str(error)
    return None


def _python_says(fd: int) -> str | None:
    """Python checks, since libc's FD_SET would write past the end of the fd_set (select(2))."""
    try:
        select.select([fd], (), (), 0)
    except ValueError as error:
        return str(error)
    return None


@contextmanager
def _numbered_from(sock: socket.socket, lowest: int) -> Iterator[int]:
    """A duplicate of the socket, with the lowest free number of at least ``lowest``."""
    fd = fcntl.fcntl(sock.fileno(), fcntl.F_DUPFD_CLOEXEC, lowest)
    try:
        yield fd
    finally:
        os.close(fd)


@contextmanager
def _numbered_below(sock: socket.socket, end: int) -> Iterator[int]:
    """A duplicate of the socket, with the highest free number below ``end``."""
    for lowest in range(end - 1, sock.fileno(), -1):
        with _numbered_from(sock, lowest) as fd:
            if fd < end:
                yield fd
                return
    raise EpolloError(f"no descriptor below {end} is free")
