"""What a handler is given as its server in memory."""

from __future__ import annotations

from collections.abc import Callable

from epollo.engine import Connection
from epollo.engine.delayed_calls import DelayedCall, call_later
from epollo.framing import Buffer
from epollo.server.application_protocol import ApplicationProtocol
from epollo.server.groups.broker import LocalBroker
from epollo.server.groups.publisher import Publisher
from epollo.settings import Settings
from epollo.testing.memory import MemoryLoop


class MemoryServer:
    """The server of a connection in memory: what a handler calls of its `epollo.Server`."""

    def __init__(self, settings: Settings, protocol: ApplicationProtocol, loop: MemoryLoop) -> None:
        self.settings: Settings = settings
        self._loop = loop
        self._publisher = Publisher(protocol.groups, protocol.framing, LocalBroker())
        self._publisher.begin(loop)

    @property
    def connections(self) -> frozenset[Connection]:
        """The connection, while it is open."""
        return frozenset(self._loop.connections())

    def publish(self, group: str, message: Buffer, exclude: Connection | None = None) -> None:
        """Send ``message`` to the connection, if it is in ``group`` and not ``exclude``. Raises
        EncodeError."""
        self._publisher.publish(group, message, exclude)

    def call_later(
        self, delay: str | float, function: Callable[..., object], *arguments: object
    ) -> DelayedCall:
        """Call ``function(*arguments)`` once, when the test has moved the clock on by ``delay``,
        unless the block has ended by then. What it raises is raised in the test. Raises
        UsageError."""
        return call_later(self._loop, self, delay, function, arguments, self._run)

    def _run(self, call: Callable[[], object]) -> None:
        try:
            call()
        except BaseException as error:
            self._loop.pass_on(error)
