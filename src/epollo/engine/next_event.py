"""Tells of the next event of one connection, just before and just after the connection is served.

The loop watches an object in place of the connection, as in a stage, until that event. So other
events cost what they did, and this one two calls of epoll_ctl(2) more.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from epollo.engine.events import READ
from epollo.engine.stages import ConnectionStage, StagedConnection


class ServedConnection(StagedConnection, Protocol):
    """The part of a connection that is used here."""

    def ready(self, events: int) -> None: ...
    def abort(self) -> None: ...


class NextEvent(ConnectionStage):
    """In place of an open connection that waits to read, until its next event, or until it waits
    for something else: then the loop watches the connection again.

    The loop serves it as it serves the connection: a stage would be after the messages of others.
    `Loop.sweep` leaves such a connection out: this is not for connections with timeouts.
    """

    __slots__ = ("_after", "_before")

    connection: ServedConnection

    def __init__(
        self,
        connection: ServedConnection,
        before: Callable[[int], object],
        after: Callable[[], object],
    ) -> None:
        super().__init__(connection)
        self._before = before
        self._after = after
        connection.loop.watch(connection.fd, self, READ)

    def ready(self, events: int) -> None:
        self.cancel()
        self._before(events)
        self.connection.ready(events)
        self._after()

    def cancel(self) -> None:
        """Tell nothing any more."""
        connection = self.connection
        if connection.loop.source_of(connection.fd) is self:
            connection.loop.watch(connection.fd, connection, READ)
