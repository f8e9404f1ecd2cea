"""Groups across nodes over one NATS server: at most once, in order, and what is lost is known."""

from __future__ import annotations

import asyncio
import os
import select
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from epollo import Connection, Server
from epollo.server.groups.cluster.subjects import subject_of
from tests.engines import Engine
from tests.logs import Log
from tests.rooms import Room, enter, room
from tests.services.nats import Nats, nats_servers
from tests.support import Peer, frame, serving, stop_process, until

pytestmark = pytest.mark.services
pytest.importorskip("nats")


@pytest.fixture
def nats() -> Iterator[Nats]:
    with nats_servers(1) as (nats,):
        yield nats


class Missing(Room):
    """Remembers what it is told of messages that did not arrive."""

    def __init__(self) -> None:
        super().__init__()
        self.missed_here: list[tuple[str, int]] = []

    def missed(self, server: Server, group: str, count: int) -> None:
        assert server is self.server
        self.missed_here.append((group, count))


@contextmanager
def nodes(
    engine: Engine, nats: Nats, count: int = 2, make: Callable[[], Room] = Room, **settings: Any
) -> Iterator[list[tuple[Any, Server]]]:
    """Servers with one member of "all" each, when each has what the others publish."""
    with ExitStack() as stack:
        found = []
        for _ in range(count):
            handler = make()
            server = engine.server(handler, broker=nats.url, **settings)
            handler.server = stack.enter_context(server)
            found.append((handler, server))
        yield found


def hears(member: Peer, text: bytes) -> bool:
    """Does ``text`` come before a pause?"""
    while select.select([member.socket], [], [], 0.2)[0]:
        if member.message() == text:
            return True
    return False


def until_linked(servers: list[Server], members: list[Peer]) -> None:
    """Until what each server publishes reaches the members of all."""
    for publisher in servers:
        for member in members:

            def arrives(publisher: Server = publisher, member: Peer = member) -> bool:
                publisher.publish("all", b"probe")  # lost if NATS does not know the member yet
                return hears(member, b"probe")

            until(arrives)
    for publisher in servers:
        publisher.publish("all", b"begin")
    for member in members:
        for _ in servers:
            while member.message() != b"begin":
                pass


def test_what_one_node_publishes_reaches_the_members_of_the_other_once_and_in_order(
    engine: Engine, nats: Nats
) -> None:
    with nodes(engine, nats) as ((here, first), (there, second)):
        with enter(here, first)[0] as ann, enter(there, second)[0] as eve:
            until_linked([first, second], [ann, eve])
            expected = [b"%d" % number for number in range(1000)]
            for message in expected:
                first.publish("all", message)
            for peer in (ann, eve):
                assert [peer.message() for _ in range(1000)] == expected
            assert eve.ask(b"\0any\r\nbytes\xff") == b"said"
            assert ann.message() == b"\0any\r\nbytes\xff"
            second.publish("all", b"")
            assert (ann.message(), eve.message()) == (b"", b"")
        assert second.counters.broker.received >= 1000
        assert first.counters.broker.missed == second.counters.broker.missed == 0


def test_many_publishing_threads_keep_their_order(engine: Engine, nats: Nats) -> None:
    with (
        nodes(engine, nats) as ((here, first), (there, second)),
        enter(here, first)[0] as ann,
        enter(there, second)[0] as eve,
    ):
        until_linked([first, second], [ann, eve])

        def publish(name: int) -> None:
            for number in range(300):
                first.publish("all", b"%d %d" % (name, number))

        threads = [threading.Thread(target=publish, args=[name]) for name in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for peer in (ann, eve):
            got = [peer.message().split() for _ in range(1200)]
            for name in range(4):
                numbers = [int(number) for who, number in got if int(who) == name]
                assert numbers == list(range(300))


@pytest.mark.parametrize("name", ["a.b c", "*", ">", "", "大厅 \r\n", "x" * 5000, "\udcff\0"])
def test_a_group_may_have_any_name(engine: Engine, nats: Nats, name: str) -> None:
    class Named(Room):
        def connected(self, connection: Connection) -> None:
            connection.join(name)
            super().connected(connection)

    with (
        nodes(engine, nats, make=Named) as ((_, first), (there, second)),
        enter(there, second)[0] as eve,
    ):
        subject = subject_of("epollo", name)
        until(lambda: subject in nats.subjects())
        first.publish(name, b"for you")
        first.publish(name + "x", b"for others")
        first.publish(name, b"and you")
        assert [eve.message(), eve.message()] == [b"for you", b"and you"]


def test_a_group_is_subscribed_while_it_has_members(engine: Engine, nats: Nats) -> None:
    with nodes(engine, nats, 1) as ((here, server),):
        assert "epollo.all" not in nats.subjects()
        ann, at = enter(here, server)
        with ann, enter(here, server)[0]:
            until(lambda: nats.subjects().count("epollo.all") == 1)
            at.leave("all")
            at.join("all")
        until(lambda: "epollo.all" not in nats.subjects())
        assert server.counters.broker.connections == 1


def test_two_services_on_one_nats_do_not_meet(engine: Engine, nats: Nats, log: Log) -> None:
    with ExitStack() as stack:
        rooms = [room(engine, broker=f"{nats.url}/{prefix}") for prefix in ("one", "two", "two")]
        for _, server in rooms:
            stack.enter_context(server)
        peers = [stack.enter_context(enter(*each)[0]) for each in rooms]
        until_linked([rooms[1][1], rooms[2][1]], peers[1:])
        rooms[0][1].publish("all", b"in one")
        rooms[1][1].publish("all", b"in two")
        assert peers[0].message() == b"in one"
        assert peers[1].message() == peers[2].message() == b"in two"


def test_while_nats_is_away_delivery_here_goes_on_and_others_know_what_they_miss(
    engine: Engine, nats: Nats, log: Log
) -> None:
    with (
        nodes(engine, nats, make=Missing, max_unsent="8KiB") as ((here, first), (there, second)),
        enter(here, first)[0] as ann,
        enter(there, second)[0] as eve,
    ):
        until_linked([first, second], [ann, eve])
        nats.kill()
        until(lambda: not first.counters.broker.connections)
        until(lambda: not second.counters.broker.connections)
        expected = [b"%03d" % number for number in range(200)]
        for message in expected:
            first.publish("all", message)
        assert [ann.message() for _ in expected] == expected
        fits = 8192 // (3 + 25 + 100)
        assert first.counters.broker.dropped == 200 - fits
        assert first.counters.broker.lost == 1
        nats.start()
        # What has waited is lost, too, if the other one comes back later than this one.
        until(lambda: second.counters.broker.missed >= 200 - fits)
        first.publish("all", b"on we go")
        assert ann.message() == b"on we go"
        got = list(iter(eve.message, b"on we go"))
        assert got == expected[fits - len(got) : fits], "in order, and none twice"
        assert len(got) + second.counters.broker.missed == 200
        until(lambda: sum(count for _, count in there.missed_here) == 200 - len(got))
    assert any("lost the broker" in line for line in log.take())


def test_what_is_lost_on_the_way_is_known_and_nothing_else(
    engine: Engine, nats: Nats, log: Log
) -> None:
    """NATS stops, is given messages, and is killed with them."""
    with (
        nodes(engine, nats, make=Missing) as ((here, first), (there, second)),
        enter(here, first)[0] as ann,
        enter(there, second)[0] as eve,
    ):
        until_linked([first, second], [ann, eve])
        sent = first.counters.broker.sent
        stop_process(nats.pid)
        for number in range(10):
            first.publish("all", b"lost %d" % number)
        until(lambda: first.counters.broker.sent == sent + 10)
        nats.kill()
        until(lambda: not first.counters.broker.connections)
        nats.start()
        until(lambda: first.counters.broker.connections and second.counters.broker.connections)
        until(lambda: second.counters.broker.missed == 10)
        assert [ann.message() for _ in range(10)] == [b"lost %d" % n for n in range(10)]
        first.publish("all", b"next")
        assert (ann.message(), eve.message()) == (b"next", b"next")
        assert there.missed_here == [("all", 10)]
        assert (first.counters.broker.missed, here.missed_here) == (0, [])
    log.take()


def test_a_message_that_nats_does_not_take_is_counted_and_the_next_one_passes(
    engine: Engine, nats: Nats, log: Log
) -> None:
    with (
        nodes(engine, nats, make=Missing, max_frame="4MiB") as ((here, first), (there, second)),
        enter(here, first)[0] as ann,
        enter(there, second)[0] as eve,
    ):
        until_linked([first, second], [ann, eve])
        first.publish("all", bytes(3 << 20))
        first.publish("all", b"short")
        assert ann.message() == bytes(3 << 20)
        assert (ann.message(), eve.message()) == (b"short", b"short")
        assert first.counters.broker.dropped == 1
        assert second.counters.broker.missed == 1
        until(lambda: there.missed_here == [("all", 1)])
    lines = log.take()
    assert (
        "a message to group 'all' did not go to other nodes: NATS takes 2097152 bytes" in lines[0]
    )
    assert lines[1] == "1 messages of other nodes to group 'all' did not arrive here"


def test_what_is_published_last_is_sent_before_the_end(engine: Engine, nats: Nats) -> None:
    with (
        nodes(engine, nats, 1) as ((there, second),),
        enter(there, second)[0] as eve,
    ):
        handler, first = room(engine, broker=nats.url)
        with first, enter(handler, first)[0] as ann:
            until_linked([first, second], [ann, eve])
            for number in range(500):
                first.publish("all", b"%d" % number)
        assert [eve.message() for _ in range(500)] == [b"%d" % number for number in range(500)]


def test_strangers_on_its_subjects_end_nothing(engine: Engine, nats: Nats) -> None:
    import nats as nats_py

    async def talk() -> None:
        client = await nats_py.connect(nats.url)
        for data in (b"", b"hello", bytes(25), b"\1" * 24, b"\4" + bytes(30)):
            await client.publish("epollo.all", data)
        await client.flush()
        await client.close()

    with (
        nodes(engine, nats) as ((here, first), (there, second)),
        enter(here, first)[0] as ann,
        enter(there, second)[0] as eve,
    ):
        until_linked([first, second], [ann, eve])
        asyncio.run(talk())
        first.publish("all", b"next")
        assert (ann.message(), eve.message()) == (b"next", b"next")
        assert second.counters.broker.missed == 0


def test_a_hook_that_raises_is_logged_and_ends_nothing(
    engine: Engine, nats: Nats, log: Log
) -> None:
    class Raising(Missing):
        def missed(self, server: Server, group: str, count: int) -> None:
            super().missed(server, group, count)
            raise ValueError("no history")

    with (
        nodes(engine, nats, make=Raising, max_frame="4MiB") as ((here, first), (there, second)),
        enter(here, first)[0] as ann,
        enter(there, second)[0] as eve,
    ):
        until_linked([first, second], [ann, eve])
        first.publish("all", bytes(3 << 20))
        first.publish("all", b"short")
        assert eve.message() == b"short"
        until(lambda: there.missed_here)
        assert eve.ask(b"still here") == b"said"
    assert "the handler raised in missed" in log.take()


APPLICATION = """
import asyncio, os

class Chat:
    def started(self, server):
        self.server = server

    def connected(self, connection):
        connection.join("all")
        connection.send(b"%d" % os.getpid())

    {define} received(self, message):
        {wait}
        self.server.publish("all", message)

    {define} missed(self, server, group, count):
        {wait}
        server.publish("all", b"missed %d" % count)
"""
PLAIN = APPLICATION.format(define="def", wait="pass")
ASYNC = APPLICATION.format(define="async def", wait="await asyncio.sleep(0)")


@pytest.mark.parametrize("code", [PLAIN, ASYNC], ids=["plain", "async"])
@pytest.mark.parametrize("flags", [[], ["-w", "2"]], ids=["one process", "workers"])
def test_every_member_at_every_worker_of_every_node_has_it_once(
    nats: Nats, tmp_path: Path, code: str, flags: list[str]
) -> None:
    (tmp_path / "app.py").write_text(code)
    with ExitStack() as stack:
        servers = [
            stack.enter_context(
                serving("app:Chat", *flags, "--broker", nats.url, cwd=str(tmp_path))
            )
            for _ in range(2)
        ]
        members: dict[bytes, Peer] = {}
        for server in servers:
            wanted = len(members) + (2 if flags else 1)
            while len(members) < wanted:
                peer = stack.enter_context(Peer(server.address))
                members.setdefault(peer.message(), peer)
        peers = list(members.values())
        for who, publisher in enumerate(peers):
            for peer in peers:

                def arrives(
                    publisher: Peer = publisher, peer: Peer = peer, text: bytes = b"probe %d" % who
                ) -> bool:
                    publisher.send(frame(text))
                    return hears(peer, text)

                until(arrives)
        for who, publisher in enumerate(peers):
            publisher.send(frame(b"begin %d" % who))
        for who, publisher in enumerate(peers):
            for number in range(200):
                publisher.send(frame(b"%d %d" % (who, number)))
        for peer in peers:
            got: list[list[bytes]] = []
            while len(got) < 200 * len(peers):
                words = peer.message().split()
                got += [words] if words[0].isdigit() else []
            for who in range(len(peers)):
                numbers = [int(number) for name, number in got if int(name) == who]
                assert numbers == list(range(200)), "once each, in order"


def test_a_process_that_is_forked_by_the_application_disturbs_nothing(
    engine: Engine, nats: Nats
) -> None:
    class Forking(Room):
        def received(self, message: bytes, connection: Connection) -> Any:
            child = os.fork()
            if not child:
                os._exit(0)
            os.waitpid(child, 0)
            return super().received(message, connection)

    with (
        nodes(engine, nats, make=Forking) as ((here, first), (there, second)),
        enter(here, first)[0] as ann,
        enter(there, second)[0] as eve,
    ):
        until_linked([first, second], [ann, eve])
        for number in range(5):
            assert ann.ask(b"%d" % number) == b"said"
            assert eve.message() == b"%d" % number
