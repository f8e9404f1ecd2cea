"""Groups: which members get a published message, and in which order."""

from __future__ import annotations

import gc
import queue
import socket
import sys
import threading
from contextlib import ExitStack
from typing import Any

import pytest

import epollo
from epollo import CloseReason, Connection, ConnectionClosed, EncodeError, GroupError
from epollo.engine import available
from epollo.framing import Buffer
from tests.certificates import server_context, trusting
from tests.engines import Engine
from tests.rooms import Room, enter, room
from tests.support import DEADLINE, Peer, Recorder, frame


def test_what_a_handler_publishes_goes_to_the_others(engine: Engine) -> None:
    handler, server = room(engine)
    with server:
        (ann, _), (bob, _), (eve, _) = (enter(handler, server) for _ in range(3))
        with ann, bob, eve:
            assert ann.ask(b"hello") == b"said"
            assert bob.message() == b"hello"
            assert eve.message() == b"hello"
            assert bob.ask(b"hello yourself") == b"said"
            assert ann.message() == b"hello yourself", "and not what she had said"


def test_published_within_a_handler_it_comes_before_the_reply(engine: Engine) -> None:
    handler = Room()

    class Talker(Recorder):
        def received(self, message: bytes, connection: Connection) -> Any:
            connection.join("all")
            server.publish("all", b"published")
            return b"replied"

    talker = Talker()
    server = handler.server = engine.server(talker)
    with server, Peer(server.addresses[0]) as peer:
        peer.send(frame(b""))
        assert [peer.message(), peer.message()] == [b"published", b"replied"]


def test_any_thread_joins_and_leaves_and_publishes(engine: Engine) -> None:
    handler = Recorder()
    with engine.server(handler) as server:
        peer, connection = enter(handler, server)
        with peer:
            connection.join("odd")
            connection.join("odd")
            connection.join("all")
            assert connection.groups == {"odd", "all"}
            server.publish("odd", b"1")
            assert peer.message() == b"1"
            connection.leave("odd")
            connection.leave("never joined")
            assert connection.groups == {"all"}
            server.publish("odd", b"2")
            server.publish("nobody", b"3")
            server.publish("all", bytearray(b"4"))
            assert peer.message() == b"4"


def test_each_member_gets_all_in_the_order_of_each_of_eight_publishers(engine: Engine) -> None:
    handler, server = room(engine)
    rounds = 500

    def publish(publisher: int) -> None:
        for number in range(rounds):
            server.publish("all", b"%d %d" % (publisher, number))

    with server:
        peers = [enter(handler, server)[0] for _ in range(5)]
        threads = [threading.Thread(target=publish, args=(name,)) for name in range(8)]
        for thread in threads:
            thread.start()
        for peer in peers:
            got = [peer.message().split() for _ in range(8 * rounds)]
            for name in range(8):
                numbers = [int(number) for publisher, number in got if int(publisher) == name]
                assert numbers == list(range(rounds))
        for thread in threads:
            thread.join()
        for peer in peers:
            peer.close()


def test_a_member_that_does_not_read_is_closed_and_delays_nobody(engine: Engine) -> None:
    handler, server = room(engine, max_unsent="256KiB")
    message = bytes(100_000)
    with server:
        slow, deaf = enter(handler, server, 4096)
        fast, _ = enter(handler, server)
        with slow, fast:
            ends = 0
            while handler.ends.empty():
                server.publish("all", message)
                assert fast.message() == message
                ends += 1
            assert handler.end() is CloseReason.SLOW_CONSUMER
            assert deaf.groups == frozenset()
            server.publish("all", b"still here")
            assert fast.message() == b"still here"


class Counting(epollo.framing.LengthPrefix):
    """Counts the frames it makes."""

    encoded = 0

    def encode(self, message: Buffer) -> bytes:
        self.encoded += 1
        return super().encode(message)


def test_one_frame_is_made_for_all_members(engine: Engine) -> None:
    counting = Counting("u32", 1 << 20, size=4)
    handler, server = room(engine, framing=counting)
    with server:
        peers = [enter(handler, server)[0] for _ in range(20)]
        for number in range(3):
            server.publish("all", b"%d" % number)
        for peer in peers:
            assert [peer.message() for _ in range(3)] == [b"0", b"1", b"2"]
            peer.close()
    assert counting.encoded == 3


def test_what_no_frame_can_hold_is_the_publishers_error(engine: Engine) -> None:
    handler, server = room(engine, max_frame=100)
    with server:
        peer, _ = enter(handler, server)
        with peer:
            with pytest.raises(EncodeError, match="over max_frame"):
                server.publish("all", bytes(101))
            server.publish("all", b"fits")
            assert peer.message() == b"fits"


def test_a_member_closed_in_the_same_turn_is_passed_over(engine: Engine) -> None:
    """Unlike `send`, which tells its caller."""
    raised: queue.Queue[Exception | None] = queue.Queue()

    class Bouncer(Recorder):
        first: Connection

        def connected(self, connection: Connection) -> None:
            connection.join("all")
            super().connected(connection)

        def received(self, message: bytes, connection: Connection) -> Any:
            self.first.abort()
            server.publish("all", message)
            try:
                self.first.send(message)
            except ConnectionClosed as error:
                raised.put(error)

    handler = Bouncer()
    with engine.server(handler) as server:
        gone, handler.first = enter(handler, server)
        peer, _ = enter(handler, server)
        with gone, peer:
            peer.send(frame(b"out"))
            assert peer.message() == b"out"
            assert isinstance(raised.get(timeout=DEADLINE), ConnectionClosed)
            assert gone.receive_all() == b""


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_what_is_published_and_what_is_sent_in_one_turn_comes_in_order(
    engine: Engine, tls: bool
) -> None:
    sizes = [1, 600, 3, 100_000, 2, 70_000, 5, 4]
    messages = [bytes([number]) * size for number, size in enumerate(sizes * 3)]

    class Speaker(Recorder):
        def received(self, message: bytes, connection: Connection) -> Any:
            for number, each in enumerate(messages):
                if number % 3:
                    server.publish("all", each)
                else:
                    for member in members:
                        member.send(each)
            return b"done"

        def connected(self, connection: Connection) -> None:
            connection.join("all")
            super().connected(connection)

    handler = Speaker()
    server = engine.server(handler, max_unsent="4MiB", **({"tls": server_context()} if tls else {}))
    with server, ExitStack() as stack:
        peers, members = [], []
        for _ in range(3):
            peer = stack.enter_context(Peer(server.addresses[0]))
            if tls:
                peer.socket = trusting().wrap_socket(peer.socket, server_hostname="127.0.0.1")
            peers.append(peer)
            members.append(handler.connection())
        peers[1].send(frame(b"speak"))
        for peer in peers:
            assert [peer.message() for _ in messages] == messages
        assert peers[1].message() == b"done"
        del members[:]


def test_a_member_that_is_closed_behind_a_message_has_it(engine: Engine) -> None:
    class Farewell(Recorder):
        def received(self, message: bytes, connection: Connection) -> Any:
            server.publish("all", message)
            for each in server.connections - {connection}:
                each.close()

        def connected(self, connection: Connection) -> None:
            connection.join("all")
            super().connected(connection)

    handler = Farewell()
    with engine.server(handler) as server:
        one, two, three = (enter(handler, server)[0] for _ in range(3))
        with one, two, three:
            assert two.ask(b"bye") == b"bye"
            assert one.receive_all() == three.receive_all() == frame(b"bye")
            assert handler.end() is handler.end() is CloseReason.LOCAL
            assert two.ask(b"alone") == b"alone"


def test_the_native_engine_runs_no_python_for_each_member() -> None:
    """It is what a member costs: the engine's own time."""
    if "native" not in available():
        pytest.skip("no native engine")
    assert _python_calls(40) - _python_calls(2) < 38


def _python_calls(members: int) -> int:
    """How many are made to publish a message and to send it."""
    calls: list[int] = []
    told = threading.Event()

    class Counted(Room):
        def received(self, message: bytes, connection: Connection) -> Any:
            loop = server._started
            loop.call_later(0, begin)

    def begin() -> None:
        server._started.call_later(0, end)  # in the next turn
        sys.setprofile(count)
        server.publish("all", b"hello")

    def count(*_: object) -> None:
        calls.append(1)

    def end() -> None:
        sys.setprofile(None)
        told.set()

    handler = Counted()
    server = handler.server = Engine("native", "epoll").server(handler, slow_handler=0)
    with server, ExitStack() as stack:
        peers = [stack.enter_context(enter(handler, server)[0]) for _ in range(members)]
        peers[0].send(frame(b"publish"))
        for peer in peers:
            assert peer.message() == b"hello"
        assert told.wait(DEADLINE)
    return len(calls)


def test_a_closed_connection_is_in_no_group_and_can_join_none(engine: Engine) -> None:
    told: queue.Queue[frozenset[str]] = queue.Queue()

    class Handler(Recorder):
        def disconnected(self, connection: Connection, reason: CloseReason) -> None:
            told.put(connection.groups)
            super().disconnected(connection, reason)

    handler = Handler()
    with engine.server(handler) as server:
        peer, connection = enter(handler, server)
        connection.join("all")
        peer.close()
        assert handler.end() is CloseReason.EOF
        assert told.get() == connection.groups == frozenset()
        with pytest.raises(ConnectionClosed, match="cannot join a group"):
            connection.join("all")
        connection.leave("all")
        server.publish("all", b"to nobody")
        assert server._protocol.groups.members("all") == ()
        del connection


def test_joins_that_race_with_the_close_leave_no_member(engine: Engine) -> None:
    handler = Recorder()
    with engine.server(handler) as server:
        for _ in range(50):
            peer, connection = enter(handler, server)
            joining = threading.Thread(target=join_until_closed, args=(connection,))
            joining.start()
            peer.close()
            joining.join()
            handler.end()
        del connection
        groups = server._protocol.groups
        assert (groups._members, groups._joined) == ({}, {})


def join_until_closed(connection: Connection) -> None:
    number = 0
    while True:
        try:
            connection.join(f"group {number}")
        except ConnectionClosed:
            return
        number += 1


def test_what_was_published_before_a_stop_is_sent(engine: Engine) -> None:
    handler, server = room(engine)
    with server:
        peer, _ = enter(handler, server)
        for number in range(3000):
            server.publish("all", b"%d" % number)
        server.stop()
        with peer:
            assert peer.receive_all() == b"".join(frame(b"%d" % each) for each in range(3000))
    server.publish("all", b"a server that is closed has no members")


def test_a_client_of_the_engine_has_no_groups(engine: Engine) -> None:
    class Protocol:
        framing = epollo.framing.parse("u32")
        limits = epollo.engine.Limits()

        def received(self, message: bytes, connection: Connection) -> None:
            pass

        def connected(self, connection: Connection) -> None:
            with pytest.raises(GroupError, match="give its protocol, Protocol, a `groups`"):
                connection.join("all")

        def closed(self, connection: Connection, reason: CloseReason) -> None:
            pass

    here, there = socket.socketpair()
    loop = engine.loop()
    with there:
        connection = loop.attach(here, Protocol())
        assert connection.error is None
        assert not connection.closed
        loop.close()
    del connection, loop
    gc.collect()


def test_any_thread_sees_who_is_connected(engine: Engine) -> None:
    handler = Recorder()
    with engine.server(handler) as server:
        assert server.connections == frozenset()
        peer, connection = enter(handler, server)
        looks = threading.Thread(target=lambda: [server.connections for _ in range(2000)])
        looks.start()
        for _ in range(50):
            enter(handler, server)[0].close()
            handler.end()
        looks.join()
        assert server.connections == {connection}
        peer.close()
        handler.end()
        del connection
    assert server.connections == frozenset()
