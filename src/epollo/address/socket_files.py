"""The file of a Unix socket: made, replaced and removed, and never the file of another server.

Each is a check and then an act on a path, so both happen under a lock on the directory. That lock
leaves no file behind. It is advisory: it only orders processes that use it (flock(2)).
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

# To bind, at most; then without the lock: a stranger may hold it for ever, such as on /tmp, and
# must not keep a server from starting.
_LOCK_SECONDS = 0.5
_LOCK_PERIOD = 0.01


@dataclass(frozen=True, slots=True)
class SocketFile:
    """The file that `bind` made. Its device and inode identify it: while the socket is open, no
    other file can have both."""

    path: str  # absolute: the process may change its directory
    device: int
    inode: int

    @classmethod
    def at(cls, path: str) -> Self:
        """The file at ``path``."""
        status = os.lstat(path)
        return cls(str(Path(path).absolute()), status.st_dev, status.st_ino)

    def is_at(self, path: str) -> bool:
        """Is ``path`` the path of this file?"""
        return str(Path(path).absolute()) == self.path

    def remove(self) -> None:
        """Remove it, unless the path is another file's by now. The socket must still be open.

        Never waits, since the thread that stops a server serves its peers. Without the lock, a
        file that replaces this one between the comparison and the removal would be removed. No
        `bind` does that while the socket listens, so what is left is tiny.
        """
        with _locked(self.path, seconds=0):
            try:
                if SocketFile.at(self.path) == self:
                    Path(self.path).unlink()
            except FileNotFoundError:
                pass


def bind(sock: socket.socket, path: str, mode: int | None) -> SocketFile:
    """Bind ``sock`` to ``path``, in place of the file of a killed server; ``mode`` is the file's
    permissions, or None for those that the umask leaves. Raises OSError."""
    with _locked(path, _LOCK_SECONDS):
        _remove_stale(path)
        if mode is not None:
            _limit_mode(sock, mode)
        sock.bind(path)
        if mode is not None:
            # Safe after bind: connect(2) is refused until the socket listens. A umask would affect
            # files that other threads create meanwhile.
            Path(path).chmod(mode)
        return SocketFile.at(path)


def _limit_mode(sock: socket.socket, mode: int) -> None:
    """Let the file that ``sock`` is going to be bound to have no more than ``mode`` from its
    creation on: on Linux bind(2) takes the mode of the socket itself, less the umask."""
    try:
        os.fchmod(sock.fileno(), mode)
    except OSError:  # another system: EINVAL
        pass


def _remove_stale(path: str) -> None:
    """Remove the Unix socket of a killed server: nothing listens on it any more."""
    if not Path(path).is_socket():
        if Path(path).exists():
            raise FileExistsError(errno.EEXIST, "a file with this path is not a socket")
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.setblocking(False)
            probe.connect(path)
        except ConnectionRefusedError:
            Path(path).unlink()
        except OSError:
            pass


@contextmanager
def _locked(path: str, seconds: float) -> Iterator[None]:
    """Hold a lock on the directory of ``path``, if it can be locked within ``seconds``."""
    try:
        folder = os.open(Path(path).parent, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:  # it cannot be read, or there is none, as bind(2) will say
        yield
        return
    try:
        locked = _lock(folder, seconds)
        yield
        if locked:  # a process that was forked meanwhile has the lock, too, until this
            fcntl.flock(folder, fcntl.LOCK_UN)
    finally:
        os.close(folder)


def _lock(folder: int, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(_LOCK_PERIOD)
        except OSError:  # the file system has no such locks
            return False
        else:
            return True
