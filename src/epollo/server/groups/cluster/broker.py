"""The broker that carries published messages to the other nodes over NATS."""

from __future__ import annotations

import logging
import struct
import time
from collections.abc import Callable, Sequence
from functools import partial
from os import urandom

from epollo.address import BrokerAddress
from epollo.engine import EventLoop
from epollo.server.groups.broker import BrokerCounts, Deliver
from epollo.server.groups.cluster.envelope import ASK, TOLD, Envelope, Origin, unpack
from epollo.server.groups.cluster.nats_client import NatsClient
from epollo.server.groups.cluster.nested_loop import NestedLoop
from epollo.server.groups.cluster.outbox import Item, Outbox
from epollo.server.groups.cluster.received import Received
from epollo.server.groups.registry import Groups
from epollo.server.log_limiter import LogLimiter
from epollo.units import format_size

_START_SECONDS = 1.0  # for the first attempt to connect, before connections are accepted
_LAST_SECONDS = 0.5  # for NATS to take what waits, when the server ends


class NatsBroker:
    """Passes messages to the other nodes at ``address``, and delivers theirs.

    All but `publish` is for the loop's thread, or before it runs. Messages of this ``node``, which
    is a server with all its workers, are not delivered: its workers have them from each other. Up
    to ``most`` bytes wait for NATS.
    """

    def __init__(self, address: BrokerAddress, node: bytes, name: str, most: int) -> None:
        self._address = address
        self._name = name
        self._most = most
        self._origin = Origin(node, struct.unpack("!I", urandom(4))[0])
        self._outbox = Outbox(self._origin, most)
        self._received: dict[str, Received] = {}
        self._deliver: Deliver = _ignore
        self._log = LogLimiter()
        self._groups = Groups()
        self._loop: EventLoop | None = None
        self._nested: NestedLoop | None = None
        self._client: NatsClient | None = None
        self._on_missed: Callable[[str, int], object] = _ignore
        self._scheduled = self._tells_failures = False
        self._drops_told = 0
        self._connections = self._lost = self._sent = self._delivered = 0
        self._missed = self._refused = 0

    @property
    def counts(self) -> BrokerCounts:
        """What it has counted since it was made. In any thread."""
        client = self._client
        return BrokerCounts(
            connections=self._connections,
            lost=self._lost,
            sent=self._sent + (0 if client is None else client.sent),
            received=self._delivered,
            missed=self._missed,
            dropped=self._outbox.dropped + self._refused,
            waiting=self._outbox.waiting,
        )

    # ---- As `epollo.Broker`

    def attach(
        self, loop: EventLoop, groups: Groups, on_missed: Callable[[str, int], object]
    ) -> None:
        """Work in ``loop`` for the members in ``groups``. ``on_missed(group, count)`` is called
        there when messages of others have not come."""
        self._loop, self._groups, self._on_missed = loop, groups, on_missed
        groups.on_change = self._group_changed

    def subscribe(self, deliver: Deliver) -> None:
        """Connect, and wait until that is done or has failed, for up to a second."""
        loop = self._loop
        if loop is None:
            return
        self._deliver, self._tells_failures = deliver, True
        self._log.begin(loop)
        self._nested = nested = NestedLoop(loop)
        address = self._address
        self._client = client = NatsClient(
            address.urls, address.prefix, self._name, self._outbox, self
        )
        nested.start(client.run())
        nested.run_until(client.tried(), _START_SECONDS)
        loop.call_threadsafe(nested.turn)

    def unsubscribe(self, deliver: Deliver) -> None:
        """Let NATS take what waits, for up to half a second, and end the connection."""
        nested, client = self._nested, self._client
        if deliver != self._deliver or nested is None or client is None:
            return
        self._groups.on_change = None
        try:
            nested.close(client.finish(), _LAST_SECONDS)
        finally:
            self._sent += client.sent
            self._loop = self._nested = self._client = None
            self._deliver, self._connections = _ignore, 0
            self._received.clear()
            self._report_drops()
            self._log.end()

    def publish(self, group: str, message: bytes, publisher: Deliver) -> None:
        """Pass ``message`` to the other nodes, as soon as the loop comes to it."""
        self._outbox.put(group, message)
        self._schedule()

    def _group_changed(self, group: str) -> None:
        """It has got its first member, or lost its last. In any thread."""
        client = self._client
        if not self._groups.has(group):
            self._received.pop(group, None)
        if client is not None:
            client.change(group)
            self._schedule()

    def _schedule(self) -> None:
        loop = self._loop
        if not self._scheduled and loop is not None:
            self._scheduled = True
            loop.call_threadsafe(self._work)

    def _work(self) -> None:
        self._scheduled = False
        if self._client is not None and self._nested is not None:
            self._client.wake()
            self._nested.turn()
            self._report_drops()

    # ---- As `nats_client.Receiver`

    def wants(self, group: str) -> bool:
        return self._groups.has(group)

    def wanted(self) -> Sequence[str]:
        return self._groups.names()

    def connected(self, server: str) -> None:
        self._connections, self._tells_failures = 1, True
        self._log.log("connected", logging.INFO, "connected to the broker %s", server)

    def lost(self, server: str, why: str) -> None:
        self._connections = 0
        self._lost += 1
        self._log.log(
            "lost",
            logging.WARNING,
            "lost the broker %s: %s; messages to other nodes wait for the next connection",
            server,
            why,
        )

    def failed(self, server: str, why: str) -> None:
        """Logged once until there is a connection again."""
        level = logging.WARNING if self._tells_failures else logging.DEBUG
        self._tells_failures = False
        self._log.log(
            "failed",
            level,
            "cannot reach the broker %s: %s; it is tried again and again",
            server,
            why,
        )

    def not_sent(self, item: Item, why: str) -> None:
        self._refused += 1
        self._log.log(
            "not sent",
            logging.WARNING,
            "a message to group %r did not go to other nodes: %s",
            item.group,
            why,
        )

    def received(self, group: str, data: bytes) -> None:
        envelope = unpack(data)
        if envelope is None or envelope.origin.node == self._origin.node:
            return
        if envelope.kind == ASK:
            if self._client is not None:
                self._client.answer(group)
        elif self._groups.has(group):
            self._take(group, envelope)

    def _take(self, group: str, envelope: Envelope) -> None:
        told = envelope.kind == TOLD
        known = self._received.get(group)
        if known is None:
            known = self._received[group] = Received()
        new, missed = known.take(envelope, told=told, now=time.monotonic())
        if missed:
            self._note_missed(group, missed)
        if new and not told:
            self._delivered += 1
            self._deliver(group, envelope.message)

    def _note_missed(self, group: str, count: int) -> None:
        self._missed += count
        self._log.log(
            "missed",
            logging.WARNING,
            "%d messages of other nodes to group %r did not arrive here",
            count,
            group,
        )
        if self._loop is not None:
            self._loop.call_threadsafe(partial(self._on_missed, group, count))

    def _report_drops(self) -> None:
        count, self._drops_told = self._outbox.dropped - self._drops_told, self._outbox.dropped
        if count:
            self._log.log(
                "dropped",
                logging.WARNING,
                "%d messages to other nodes were dropped: over max_unsent, %s, would wait",
                count,
                format_size(self._most),
            )


def _ignore(*_: object) -> None:
    pass
