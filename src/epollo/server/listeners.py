"""The addresses that a server listens on: its own binds, or the sockets that systemd passed."""

from __future__ import annotations

import socket
from collections.abc import Callable, Collection, Sequence
from contextlib import ExitStack
from typing import Protocol, TypeAlias

from epollo import address
from epollo.engine import EventLoop
from epollo.logs.logger import logger
from epollo.server.acceptor import Acceptor
from epollo.server.application_protocol import ApplicationProtocol
from epollo.server.attacher import Attacher
from epollo.settings import Settings

_log = logger("epollo.server")


class ConnectionSource(Protocol):
    """Where new connections come from: an `Acceptor`, or another process that accepts them."""

    listener: socket.socket

    @property
    def path(self) -> str:
        """Of a Unix socket's file; empty if there is none."""

    def close(self, most: int = 0) -> None:
        """Take up to ``most`` of the connections that wait, then no more."""


NewSource: TypeAlias = Callable[[EventLoop, Attacher], ConnectionSource]


class Listeners:
    """Binds and listens; each listener has an `Acceptor` for ``protocol``."""

    def __init__(
        self, settings: Settings, protocol: ApplicationProtocol, *, bind_given: bool
    ) -> None:
        self._settings = settings
        self._protocol = protocol
        self.binds: list[address.Address] = address.parse_all(settings.bind)
        self._bind_given = bind_given
        self._acceptors: list[ConnectionSource] = []
        self._given: Sequence[socket.socket] | None = None
        self._given_addresses: Sequence[str] = ()
        self._new_source: NewSource | None = None
        self.addresses: list[str] = []  # those that were bound
        self.on_closed: Callable[[], object] | None = None  # called once, when none is left

    @property
    def files(self) -> list[str]:
        """The paths of Unix sockets that were made."""
        return [path for acceptor in self._acceptors if (path := acceptor.path)]

    def use(
        self,
        sockets: Sequence[socket.socket],
        addresses: Sequence[str] | None = None,
        new_source: NewSource | None = None,
    ) -> None:
        """Accept from ``sockets``, which listen already, instead of binding any; and take what
        other processes accept, if there is a ``new_source`` of that. ``addresses`` are those of
        both; by default, those of ``sockets``."""
        self._given = sockets
        if addresses is None:
            addresses = [str(address.of(each.getsockname())) for each in sockets]
        self._given_addresses = addresses
        self._new_source = new_source

    def open(self, loop: EventLoop) -> None:
        """Listen on every address. Raises BindError."""
        if self._given is None:
            for bind in self.binds:
                self._listen(loop, bind)
            return
        self.addresses += self._given_addresses
        for listener in self._given:
            self._accept(loop, listener, address.of(listener.getsockname()))
        if self._new_source is not None:
            self._acceptors.append(self._new_source(loop, self._attacher(loop)))

    def use_systemd_sockets(self) -> None:
        """Listen on the sockets that systemd passed, unless ``bind`` was given."""
        if self._given is None:
            self.binds = binds_or_systemd_sockets(
                self.binds, address.activated(), bind_given=self._bind_given
            )

    def stop_accepting(self, *, accept_queued: bool = False) -> None:
        """Close every listener; before that, accept what is in its queue if ``accept_queued``, but
        no more than it holds, while further ones come. A second call does nothing."""
        most = self._settings.backlog if accept_queued else 0
        with ExitStack() as each:  # all of them, though one raises
            if self.on_closed is not None:
                each.callback(self.on_closed)
                self.on_closed = None
            for acceptor in reversed(self._acceptors):
                each.callback(acceptor.close, most)

    def leave_queued(self, sockets: Collection[socket.socket]) -> None:
        """Close the listeners of ``sockets``: other processes accept what is in their queues."""
        for acceptor in self._acceptors:
            if acceptor.listener in sockets:
                acceptor.close()

    def close(self) -> None:
        """Close every listener and forget it."""
        self.stop_accepting()
        self._acceptors.clear()

    def _listen(self, loop: EventLoop, bind: address.Address) -> None:
        options = options_of(self._settings)
        for listener, file in address.listen_all(bind, options, self.binds, _log.warning):
            self.addresses.append(str(address.of(listener.getsockname())))
            self._accept(loop, listener, bind, file)

    def _accept(
        self,
        loop: EventLoop,
        listener: socket.socket,
        bind: address.Address,
        file: address.SocketFile | None = None,
    ) -> None:
        self._acceptors.append(Acceptor(loop, listener, bind, self._attacher(loop), file))

    def _attacher(self, loop: EventLoop) -> Attacher:
        return Attacher(loop, self._protocol, self._protocol.limiter)


def options_of(settings: Settings) -> address.Options:
    """How to listen, as ``settings`` say."""
    return address.Options(
        settings.backlog, settings.keepalive, settings.write_timeout, settings.socket_mode
    )


def binds_or_systemd_sockets(
    binds: list[address.Address], passed: list[address.Address], *, bind_given: bool
) -> list[address.Address]:
    """The sockets that systemd has ``passed`` to this process, if any, unless ``bind`` was given.
    Raises BindError."""
    if passed and not bind_given:
        return passed
    if unserved := [str(each) for each in passed if each not in binds]:
        _log.warning(
            "not served, since bind says otherwise: %s, passed by systemd; leave bind out, or"
            " name them there",
            ", ".join(unserved),
        )
    return binds
