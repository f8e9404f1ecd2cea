"""Publishing to a group: to this server's members, and through the broker to other servers."""

from __future__ import annotations

import threading
from functools import partial

from epollo.engine import Connection, EventLoop
from epollo.errors import EncodeError
from epollo.framing import Buffer, Framing
from epollo.framing.base import to_bytes
from epollo.logs.logger import logger
from epollo.server.groups.broker import Broker
from epollo.server.groups.registry import Groups

_log = logger("epollo.server")


class Publisher:
    """Sends to the members of ``groups``, from any thread, between `begin` and `end`."""

    def __init__(self, groups: Groups, framing: Framing, broker: Broker) -> None:
        self._groups = groups
        self._encode = framing.encode
        self._broker = broker
        self._loop: EventLoop | None = None

    def begin(self, loop: EventLoop) -> None:
        """Send on ``loop`` from now on."""
        self._loop = loop
        self._broker.subscribe(self._deliver)

    def end(self) -> None:
        """Send nothing more: the loop is closed."""
        if self._loop is not None:
            self._loop = None
            self._broker.unsubscribe(self._deliver)

    def publish(self, group: str, message: Buffer, exclude: Connection | None) -> None:
        """Send to all members on all servers, except ``exclude``. Raises EncodeError."""
        self._push(group, self._encode(message), exclude)
        self._broker.publish(group, to_bytes(message), self._deliver)

    def _deliver(self, group: str, message: bytes) -> None:
        """Send a message of another server; this server's framing may be unable to encode it."""
        loop = self._loop
        if not self._groups.has(group):
            return
        try:
            self._push(group, self._encode(message))
        except EncodeError as error:
            _log.warning("not delivered to group %r: %s", group, error)
        except BaseException as error:  # from a framing of the user's own
            if loop is not None:
                what = f"not delivered to group {group!r}: the framing's encode raised"
                loop.call_threadsafe(partial(loop.report, error, what))

    def _push(self, group: str, frame: bytes, exclude: object = None) -> None:
        loop = self._loop
        if loop is None:
            return
        if loop.thread in (None, threading.get_ident()):
            self._groups.push(group, frame, exclude)
            return
        for member in self._groups.members(group):
            if member is not exclude:
                loop.push_threadsafe(member, frame)
