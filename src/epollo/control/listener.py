"""The control socket: a Unix socket at which a running server is asked about itself, and steered.

Only the user of the server, and root, may connect: the file has mode 600 from its creation on, and
the kernel tells the user of each client (SO_PEERCRED, unix(7)).
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Callable, Collection
from dataclasses import astuple
from typing import Any

from epollo import address
from epollo.control.commands import Commands
from epollo.control.session import Session
from epollo.engine import EventLoop
from epollo.errors import AddressError, BindError, PollerFull, SettingError
from epollo.logs.logger import logger

MOST = 16  # clients at a time
MODE = 0o600
_RETRY_SECONDS = 1.0
_CREDENTIALS = struct.Struct("3i")  # struct ucred: process, user, group

_log = logger("epollo.server")


def listen_at(path: str) -> address.Bound:
    """A socket that listens at ``path``, in place of the file of a server that has ended. Raises
    BindError, and SettingError for a path that no socket can have."""
    try:
        # Not unix:@NAME, which has no file, and so no permissions.
        where = address.parse(f"unix:./{path}" if path.startswith("@") else f"unix:{path}")
    except AddressError as error:
        raise SettingError(f"control: {error}") from None
    try:
        return address.listen_all(where, address.Options(MOST, mode=MODE), most=1)[0]
    except BindError as error:
        raise BindError(f"control: {error}") from error.__cause__


class ControlListener:
    """Answers on ``loop``, from `begin` on, clients at ``bound`` that run as root or as one of
    ``users``. Of more than ``MOST`` clients, the one that came first is closed.

    ``commands`` makes those of one client; its argument tells whether that is still there.
    ``owned`` is false while the file is another process's, which it must not remove.
    """

    def __init__(
        self,
        loop: EventLoop,
        bound: address.Bound,
        commands: Callable[[Callable[[], bool]], Commands],
        users: Collection[int],
        *,
        owned: bool = True,
    ) -> None:
        self._loop = loop
        self._listener = bound.socket
        self.file: address.SocketFile | None = bound.file
        self.owned: bool = owned
        self._commands = commands
        self._users = {0, *users}
        self._sessions: dict[Session, None] = {}  # the oldest first
        self._process = os.getpid()
        self._listens = False

    def describe(self) -> dict[str, Any] | None:
        """For a supervisor that is to take the place: a further descriptor, which the caller
        closes, and the file; None if it is closed. A process that is forked gives up the
        descriptor that the loop has (`EventLoop.begin`)."""
        if self.file is None or self._listener.fileno() < 0:
            return None
        return {"fd": os.dup(self._listener.fileno()), "file": astuple(self.file)}

    def begin(self) -> None:
        """Answer from now on; the file is this process's."""
        self.owned = True
        self._listen()

    def close(self) -> None:
        """Answer no more, and remove the file. In the loop's thread, or once it is over."""
        if self._listener.fileno() >= 0:
            self._remove_file()
            if self._listens:
                self._loop.unlisten(self._listener)
            self._listener.close()
        for session in list(self._sessions):
            session.abort()

    def give_up(self) -> None:
        """In a process that was forked: close the copies."""
        self._listener.close()
        for session in self._sessions:
            session.give_up()
        self._sessions.clear()

    def _remove_file(self) -> None:
        # A process that was forked must not remove it.
        if self.file is None or not self.owned or os.getpid() != self._process:
            return
        try:
            self.file.remove()
        except OSError as error:
            _log.warning("%s is left behind: %s", self.file.path, error.strerror)

    def _listen(self) -> None:
        if self._listener.fileno() >= 0:
            self._loop.listen(self._listener, self._accept, self._failed)
            self._listens = True

    def _accept(self, sock: socket.socket) -> None:
        if len(self._sessions) >= MOST:
            gone = [session for session in self._sessions if session.gone]
            for session in gone or [next(iter(self._sessions))]:
                session.abort()
        user = _user_of(sock)
        try:
            session = Session(self._loop, sock, self._commands, self._ended)
        except (PollerFull, OSError) as error:
            _log.warning("control: connection refused: %s", error)
            sock.close()
            return
        self._sessions[session] = None
        if user is not None and user not in self._users:
            session.refuse(f"user {user} may not control this server; its own user and root may")

    def _ended(self, session: Session) -> None:
        self._sessions.pop(session, None)

    def _failed(self, error: OSError) -> None:
        """No descriptor is left, or something like that: try again later."""
        _log.warning("control: cannot accept: %s", error.strerror)
        self._loop.unwatch(self._listener.fileno())
        self._listens = False
        self._loop.call_later(_RETRY_SECONDS, self._listen)


def _user_of(sock: socket.socket) -> int | None:
    """The user of a client; None if the system does not tell."""
    option = getattr(socket, "SO_PEERCRED", None)
    if option is None:
        return None
    _, user, _ = _CREDENTIALS.unpack(sock.getsockopt(socket.SOL_SOCKET, option, _CREDENTIALS.size))
    return int(user)
