"""What is published to a group: to this server's members, and by the broker to other servers'."""

from __future__ import annotations

import logging
import threading
from functools import partial

from epollo.engine import Connection, EventLoop
from epollo.errors import EncodeError
from epollo.framing import Buffer, Framing
from epollo.framing.base import to_bytes
from epollo.server.groups.broker import Broker
from epollo.server.groups.registry import Groups

_log = logging.getLogger("epollo.server")


class Publisher:
    """Sends to the members of ``groups``, from any thread, while there is a loop to do it."""

    def __init__(self, groups: Groups, framing: Framing, broker: Broker) -> None:
        self._groups = groups
        self._encode = framing.encode
        self._broker = broker
        self._loop: EventLoop | None = None

    def begin(self, loop: EventLoop) -> None:
        """Members are connected by ``loop`` from now on."""
        self._loop = loop
        self._broker.subscribe(self._deliver)

    def end(self) -> None:
        """There are no members any more."""
        if self._loop is not None:
            self._loop = None
            self._broker.unsubscribe(self._deliver)

    def publish(self, group: str, message: Buffer, exclude: Connection | None) -> None:
        """To all members, but ``exclude``, of all servers. Raises EncodeError."""
        self._push(group, self._encode(message), exclude)
        self._broker.publish(group, to_bytes(message), self._deliver)

    def _deliver(self, group: str, message: bytes) -> None:
        """What another server has published; its framing may hold what this one's cannot."""
        loop = self._loop
        try:
            self._push(group, self._encode(message))
        except EncodeError as error:
            _log.warning("not delivered to group %r: %s", group, error)
        except BaseException as error:  # of the user's own framing
            if loop is not None:
                what = f"not delivered to group {group!r}: the framing's encode raised"
                loop.call_threadsafe(partial(loop.report, error, what))

    def _push(self, group: str, frame: bytes, exclude: Connection | None = None) -> None:
        loop = self._loop
        if loop is None:
            return
        push = partial(self._groups.push, group, frame, exclude)
        if loop.thread in (None, threading.get_ident()):
            push()
        else:
            loop.call_threadsafe(push)
