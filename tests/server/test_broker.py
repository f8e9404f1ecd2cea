"""Brokers: a message that one server publishes reaches the members on the others, once."""

from __future__ import annotations

import queue
import threading
from typing import Any

import pytest

from epollo import Broker, LocalBroker, Server
from epollo.server.groups.broker import Deliver
from tests.engines import Engine
from tests.logs import Log
from tests.rooms import Room, enter
from tests.support import DEADLINE, Peer


class Wire:
    """A broker as one over a network would be: bytes through a queue, and a thread at its end
    that gives them to all but the server they are from."""

    def __init__(self) -> None:
        self.subscribers: dict[str, Deliver] = {}
        self.wire: queue.Queue[bytes | None] = queue.Queue()
        self.thread = threading.Thread(target=self.carry)
        self.thread.start()

    def subscribe(self, deliver: Deliver) -> None:
        self.subscribers[f"server {len(self.subscribers)}"] = deliver

    def unsubscribe(self, deliver: Deliver) -> None:
        self.subscribers = {
            name: each for name, each in self.subscribers.items() if each != deliver
        }

    def publish(self, group: str, message: bytes, publisher: Deliver) -> None:
        names = [name for name, each in self.subscribers.items() if each == publisher]
        self.wire.put(b"\0".join([names[0].encode(), group.encode(), message]))

    def carry(self) -> None:
        while (data := self.wire.get(timeout=DEADLINE)) is not None:
            origin, group, message = data.split(b"\0", 2)
            for name, deliver in self.subscribers.items():
                if name != origin.decode():
                    deliver(group.decode(), message)

    def close(self) -> None:
        self.wire.put(None)
        self.thread.join()


def rooms(engine: Engine, broker: Broker) -> list[tuple[Room, Server]]:
    handlers = [Room(), Room()]
    for handler in handlers:
        handler.server = engine.server(handler, broker=broker)
    return [(handler, handler.server) for handler in handlers]


@pytest.mark.parametrize("make", [LocalBroker, Wire])
def test_two_servers_on_one_broker_are_one_room(engine: Engine, make: Any) -> None:
    broker = make()
    (here, first), (there, second) = rooms(engine, broker)
    with first, second:
        ann, bob = enter(here, first)[0], enter(here, first)[0]
        eve = enter(there, second)[0]
        with ann, bob, eve:
            for number in range(1000):
                first.publish("all", b"%d" % number)
            expected = [b"%d" % number for number in range(1000)]
            for peer in (ann, bob, eve):
                assert [peer.message() for _ in range(1000)] == expected, "once each, in order"
            assert ann.ask(b"hello") == b"said"
            assert received_by(eve, bob) == {b"hello"}
            assert eve.ask(b"hello, all") == b"said"
            assert received_by(ann, bob) == {b"hello, all"}
    if isinstance(broker, Wire):
        broker.close()
        assert broker.subscribers == {}


def received_by(*peers: Peer) -> set[bytes]:
    return {peer.message() for peer in peers}


def test_servers_of_their_own_share_nothing(engine: Engine) -> None:
    first, second = Room(), Room()
    first.server, second.server = engine.server(first), engine.server(second)
    with (
        first.server,
        second.server,
        enter(first, first.server)[0] as ann,
        enter(second, second.server)[0] as eve,
    ):
        first.server.publish("all", b"here")
        second.server.publish("all", b"there")
        assert (ann.message(), eve.message()) == (b"here", b"there")


def test_what_the_other_servers_framing_cannot_hold_is_logged_there(
    engine: Engine, log: Log
) -> None:
    broker = LocalBroker()
    here, there = Room(), Room()
    here.server = first = engine.server(here, broker=broker)
    there.server = second = engine.server(there, broker=broker, max_frame=100)
    with first, second, enter(here, first)[0] as ann, enter(there, second)[0] as eve:
        first.publish("all", bytes(101))
        first.publish("all", b"short")
        assert eve.message() == b"short"
        assert [ann.message(), ann.message()] == [bytes(101), b"short"]
    why = "message of 101 bytes makes a frame over max_frame (100 bytes)"
    assert log.take() == [f"not delivered to group 'all': {why}"]


def test_a_server_is_subscribed_while_it_runs(engine: Engine) -> None:
    broker = LocalBroker()
    handler = Room()
    handler.server = engine.server(handler, broker=broker)
    for _ in range(2):
        with handler.server:
            assert len(broker._subscribers) == 1
        assert not broker._subscribers
