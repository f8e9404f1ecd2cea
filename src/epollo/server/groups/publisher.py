"""Publishing to a group: to this server's members, and through the broker to other servers."""

from __future__ import annotations

import threading
from functools import partial
from typing import Any

from epollo.engine import Connection, EventLoop
from epollo.engine.pushes import Reframed
from epollo.errors import ConnectionClosed, EncodeError
from epollo.framing import Buffer, Framing
from epollo.framing.base import to_bytes
from epollo.logs.logger import logger
from epollo.server.groups.broker import Broker
from epollo.server.groups.registry import Groups, Member

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
        self._push(group, message, self._encode(message), exclude)
        self._broker.publish(group, to_bytes(message), self._deliver)

    def _deliver(self, group: str, message: bytes) -> None:
        """Send a message of another server; this server's framing may be unable to encode it."""
        loop = self._loop
        if not self._groups.has(group):
            return
        try:
            self._push(group, message, self._encode(message))
        except EncodeError as error:
            _log.warning("not delivered to group %r: %s", group, error)
        except BaseException as error:  # from a framing of the user's own
            if loop is not None:
                what = f"not delivered to group {group!r}: the framing's encode raised"
                loop.call_threadsafe(partial(loop.report, error, what))

    def _push(self, group: str, message: Buffer, frame: bytes, exclude: object = None) -> None:
        loop, groups = self._loop, self._groups
        if loop is None:
            return
        members = groups.members(group)
        if loop.thread in (None, threading.get_ident()):
            self._push_in_loop(loop, group, message, frame, members, exclude)
            return
        for member in members:
            if member is exclude:
                continue
            if member in groups.reframed:
                self._send(group, message, member)
            else:
                self._push_from_thread(loop, group, message, frame, member)

    def _push_in_loop(
        self,
        loop: EventLoop,
        group: str,
        message: Buffer,
        frame: bytes,
        members: tuple[Member, ...],
        exclude: object,
    ) -> None:
        reframed = self._groups.reframed
        if not reframed:
            loop.push_all(members, frame, exclude)
            return
        same: list[Member] = []
        by_context: dict[Any, list[Any]] = {}
        member: Any
        for member in members:
            if member not in reframed:
                same.append(member)
            elif member is not exclude:
                by_context.setdefault(member.context, []).append(member)
        loop.push_all(tuple(same), frame, exclude)
        for context, those in by_context.items():
            self._push_encoded_by(context, loop, group, message, those)

    def _push_encoded_by(
        self, context: Any, loop: EventLoop, group: str, message: Buffer, members: list[Any]
    ) -> None:
        """One frame for all that have another framing than the server's, and the same one."""
        try:
            frame = context.encode(message)
        except EncodeError as error:
            for member in members:
                _warn(group, member, error)
            return
        same = tuple(each for each in members if each.context is context)
        changed = [each for each in members if each.context is not context]  # by ``encode``
        loop.push_all(same, frame)
        for member in changed:
            self._send(group, message, member)

    def _push_from_thread(
        self, loop: EventLoop, group: str, message: Buffer, frame: bytes, member: Any
    ) -> None:
        context = member.context
        try:
            if member not in self._groups.reframed:  # else it is as of just now
                loop.push_threadsafe(member, frame, context)
                return
        except Reframed:
            pass
        self._send(group, message, member)

    def _send(self, group: str, message: Buffer, member: Member) -> None:
        """Send to a member with another framing, which may be unable to encode the message."""
        try:
            member.send(message)
        except EncodeError as error:
            _warn(group, member, error)
        except ConnectionClosed:
            pass


def _warn(group: str, member: Member, error: EncodeError) -> None:
    _log.warning("not delivered to %r of group %r: %s", member, group, error)
