"""The ends of connections at a stop: in a pause of each peer, or shortly before the grace is over;
spread over a time; after the application's farewell."""

from __future__ import annotations

import asyncio
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

import epollo
from epollo import CloseReason, Connection, Server, address
from epollo.engine.base_loop import MOST_ENDED
from epollo.engine.connection import BaseConnection
from epollo.server import goodbye
from tests.engines import ENGINES, Engine
from tests.logs import Log
from tests.support import DEADLINE, Peer, Recorder, Talking, frame, messages_in, serving, until
from tests.zygote import Zygote

MODES = {
    "plain": ("tests.farewells:Plain", []),
    "threads": ("tests.farewells:Plain", ["--threads", "2"]),
    "asyncio": ("tests.farewells:Async", ["--loop", "asyncio"]),
    "uvloop": ("tests.farewells:Async", ["--loop", "uvloop"]),
}
every_mode = pytest.mark.parametrize("mode", MODES)


@pytest.fixture(scope="module")
def zygote() -> Iterator[Zygote]:
    with Zygote() as zygote:
        yield zygote


def is_refused(address: str) -> bool:
    try:
        Peer(address).close()
    except OSError:
        return True
    return False


# ---- Quiet


def test_a_peer_that_pauses_loses_nothing(engine: Engine) -> None:
    """It is served until it pauses, though the stop has long begun."""
    with serving(*engine.flags, "--drain-quiet", "0.3") as server, Peer(server.address) as peer:
        talking = Talking(peer, 0.3)
        assert talking.ask(b"before") == b"before"
        server.signal(signal.SIGTERM)
        until(lambda: is_refused(server.address))
        end = time.monotonic() + 1
        while time.monotonic() < end:  # far over the quiet period, in which it never pauses
            assert talking.ask(b"meanwhile") == b"meanwhile" or talking.ended
        assert peer.receive_all() == b""
        assert server.wait() == 0


def test_a_peer_that_was_silent_before_the_stop_is_ended_at_once(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(goodbye, "_LONGEST_PERIOD", 3600.0)  # so there is only the first look
    monkeypatch.setattr(goodbye, "_SHORTEST_PERIOD", 3600.0)
    handler = Recorder()
    with engine.server(handler, drain_quiet="0.2") as server, Peer(server.addresses[0]) as peer:
        connection = handler.connection()
        assert peer.ask(b"hello") == b"hello"
        until(lambda: silence(connection) > 0.2)
        server.stop(grace=3600)
        assert peer.receive_all() == b""


def test_a_message_that_crosses_the_end_is_not_answered_by_a_reset(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(goodbye, "CROSSING_SECONDS", 3600.0)
    with engine.server(Recorder(), drain_quiet="0.1") as server, Peer(server.addresses[0]) as peer:
        assert peer.ask(b"hello") == b"hello"
        server.stop(grace=3600)
        assert peer.receive_all() == b""
        peer.send(frame(b"crossing") * 2)
        assert peer.receive_all() == b""  # not reset
        peer.end()
        until(lambda: not server.connections)


def test_a_peer_that_does_not_end_its_side_is_not_waited_for(engine: Engine) -> None:
    with engine.server(Recorder(), drain_quiet="0.1") as server, Peer(server.addresses[0]) as peer:
        assert peer.ask(b"hello") == b"hello"
        server.stop(grace=3600)
        assert peer.receive_all() == b""
        until(lambda: not server.connections)


def silence(connection: Any) -> float:
    seconds: float = connection.silence(0.25)
    return seconds


def test_a_unix_sockets_silence_is_told_by_the_ticks(engine: Engine, tmp_path: Path) -> None:
    """Whether there are timeouts, for which ticks are counted anyway, or none."""
    for timeout in (0, 3600):
        timeouts = dict.fromkeys(("idle_timeout", "frame_timeout", "write_timeout"), timeout)
        bind = f"unix:{tmp_path}/socket"
        with (
            engine.server(Recorder(), bind=bind, drain_quiet="0.3", **timeouts) as server,
            Peer(server.addresses[0]) as peer,
        ):
            talking = Talking(peer, 0.3)
            assert talking.ask(b"hello") == b"hello"
            server.stop(grace=3600)
            for _ in range(3):
                assert talking.ask(b"hello") == b"hello" or talking.ended
                time.sleep(0.1)  # shorter than the quiet period
            assert peer.receive_all() == b""


def test_a_frame_that_has_begun_and_a_reply_that_is_due_are_waited_for(engine: Engine) -> None:
    begun, release = threading.Event(), threading.Event()

    def handle(message: bytes) -> bytes:
        if message == b"slow":
            begun.set()
            assert release.wait(DEADLINE)
        return message

    with (
        engine.server(handle, threads=2, drain_quiet="50ms") as server,
        Peer(server.addresses[0]) as slow,
        Peer(server.addresses[0]) as partial,
        Peer(server.addresses[0]) as idle,
    ):
        assert partial.ask(b"hello") == b"hello"
        assert idle.ask(b"hello") == b"hello"
        slow.send(frame(b"slow"))
        assert begun.wait(DEADLINE)
        partial.send(frame(b"hello")[:6])
        until(lambda: any(each.in_frame for each in busy_ones(server)))
        server.stop(grace=3600)
        assert idle.receive_all() == b""
        until(lambda: len(server.connections) == 2)  # once the peer has ended it too
        release.set()
        assert slow.receive_all() == frame(b"slow")
        partial.send(frame(b"hello")[6:])
        assert partial.receive_all() == frame(b"hello")


def busy_ones(server: Server) -> list[Any]:
    return [each for each in server.connections if each.busy]  # type: ignore[attr-defined]


def test_a_peer_that_never_pauses_loses_what_it_sent_last_at_most(engine: Engine) -> None:
    """It is ended before the grace is over, between two messages, and all before is answered."""
    handler = Recorder()
    sent, replies = [0], bytearray()
    with engine.server(handler, drain_quiet="1s") as server, Peer(server.addresses[0]) as peer:

        def flood() -> None:
            try:
                while True:
                    peer.send(frame(b"%d" % sent[0]))
                    sent[0] += 1
            except OSError:
                pass

        thread = threading.Thread(target=flood)
        thread.start()
        until(lambda: sent[0] > 10)
        server.stop(grace=1)
        replies += peer.receive_until_gone()
        thread.join(DEADLINE)
    assert handler.end() is CloseReason.SHUTDOWN
    answered = messages_in(bytes(replies))
    handled = [handler.message() for _ in range(handler.messages.qsize())]
    assert answered == handled == [b"%d" % number for number in range(len(handled))]
    assert len(handled) <= sent[0]


def test_pushes_do_not_keep_a_silent_peer(engine: Engine) -> None:
    """A feed never pauses, but its subscriber sends nothing that could be lost."""
    handler = Recorder()
    with engine.server(handler, drain_quiet="0.3") as server, Peer(server.addresses[0]) as peer:
        connection = handler.connection()
        server.stop(grace=3600)
        pushed = 0
        while not connection.closed:
            try:
                connection.send(b"news")
            except epollo.ConnectionClosed:
                break
            pushed += 1
            time.sleep(0.01)
        received = messages_in(peer.receive_until_gone())
    assert received == [b"news"] * len(received)
    assert pushed - len(received) <= 2  # on its way from the thread, maybe, when it was ended


def test_a_connection_that_its_handler_has_paused_is_ended_at_once(engine: Engine) -> None:
    handler = Recorder()
    with (
        engine.server(handler, drain_quiet="1h", graceful_timeout="2h") as server,
        Peer(server.addresses[0]) as peer,
    ):
        handler.connection().pause_reading()
        server.stop(grace=7200)
        assert peer.receive_all() == b""


@pytest.mark.parametrize("kind", ["signal", "block"])
def test_ctrl_c_and_the_end_of_a_block_wait_for_no_silence(engine: Engine, kind: str) -> None:
    settings = {"drain_quiet": "1h", "graceful_timeout": "2h", "goodbye_over": "1h"}
    if kind == "block":
        with engine.server(Recorder(), **settings) as server:
            peer = Peer(server.addresses[0])
            assert peer.ask(b"hello") == b"hello"
        with peer:
            assert peer.receive_all() == b""
        return
    flags = [part for name, value in settings.items() for part in (option(name), value)]
    with serving(*engine.flags, *flags) as process, Peer(process.address) as peer:
        assert peer.ask(b"hello") == b"hello"
        process.signal(signal.SIGINT)
        assert peer.receive_all() == b""
        assert process.wait() == 0


def option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


# ---- Spread over a time


def ends(peers: list[Peer], since: float) -> list[float]:
    """When each stream ended, in seconds."""
    found: list[float] = []

    def wait(peer: Peer) -> None:
        peer.receive_until_gone()
        found.append(time.monotonic() - since)

    threads = [threading.Thread(target=wait, args=(peer,)) for peer in peers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE)
    assert len(found) == len(peers)
    return sorted(found)


@pytest.mark.parametrize("pausing", [True, False])
def test_the_ends_are_spread(engine: Engine, pausing: bool) -> None:
    """Those in a pause from the beginning of the stop on; the others up to shortly before the end
    of the grace. None comes before its time: later is what a busy machine makes of it."""
    over, grace, count = 1.0, 2.0, 20
    handler = Recorder()
    settings = {"drain_quiet": 0, "goodbye_over": over} if pausing else {"goodbye_over": over}
    with engine.server(handler, **settings) as server:
        peers = [Peer(server.addresses[0]) for _ in range(count)]
        for peer in peers:
            peer.send(frame(b"hello") if pausing else frame(b"hello")[:5])
        until(lambda: handler.messages.qsize() == count or len(busy_ones(server)) == count)
        start = time.monotonic()
        server.stop(grace=grace)
        when = ends(peers, start)
        for peer in peers:
            peer.close()
    first = 0.0 if pausing else grace - goodbye.LAST_SECONDS - over
    for number, seconds in enumerate(when):
        assert seconds >= first + (number - 1) * over / count - 0.05, when


def test_not_all_are_looked_at_for_each_end(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each look at a thousand connections would take milliseconds, of a loop that serves them."""
    looks = 0

    def silence(*_: object) -> float:
        nonlocal looks
        looks += 1
        return 3600.0

    monkeypatch.setattr(BaseConnection, "silence", silence)
    with ExitStack() as stack:
        server = stack.enter_context(engine.server(Recorder(), drain_quiet="1s", goodbye_over="1s"))
        peers = [stack.enter_context(Peer(server.addresses[0])) for _ in range(60)]
        until(lambda: len(server.connections) == len(peers))
        began = time.monotonic()
        server.stop(grace=DEADLINE)
        assert [peer.receive_all() for peer in peers] == [b""] * len(peers)
        seconds = time.monotonic() - began
    assert looks <= len(peers) * (2 + 8 * seconds)  # all once in 125 ms, and each when it ends


def test_however_long_the_quiet_period_its_end_is_noticed_soon(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pause that is little longer would be missed otherwise."""
    silences = iter([0.0])  # at the first look
    monkeypatch.setattr(BaseConnection, "silence", lambda *_: next(silences, 7200.0))
    limits = {"drain_quiet": "1h", "graceful_timeout": "2h"}
    with engine.server(Recorder(), **limits) as server, Peer(server.addresses[0]) as peer:
        until(lambda: server.connections)
        server.stop()
        assert peer.receive_all() == b""


def test_many_are_not_ended_in_one_turn(engine: Engine) -> None:
    """The first streams end before the last connections are looked at for the last time: what a
    peer sends between the two has no answer."""
    peers: dict[str, Peer] = {}
    drained: list[Peer] = []
    seen: list[bytes] = []  # of the first stream, when the last connection is drained

    class App(Recorder):
        def closing(self, connection: Connection) -> None:
            drained.append(peers[connection.peername])
            if len(drained) == len(peers):
                seen.append(drained[0].socket.recv(1))

    with engine.server(App(), drain_quiet=0) as server:
        for _ in range(3 * MOST_ENDED):
            peer = Peer(server.addresses[0])
            peers[address.peer_name(peer.socket.getsockname())] = peer
            assert peer.ask(b"hello") == b"hello"
        server.stop(grace=3600)
    for peer in peers.values():
        assert peer.receive_all() == b""
        peer.close()
    assert len(drained) == len(peers)
    assert seen == [b""]


def test_an_end_that_raises_keeps_no_other_from_its_end(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, log: Log
) -> None:
    """Neither those of the same turn nor, by a look that comes later, those that were not quiet."""
    drain = BaseConnection.drain
    failed: list[str] = []

    def fail_first(connection: BaseConnection) -> None:
        if not failed:
            failed.append(connection.peername)
            raise MemoryError
        drain(connection)

    monkeypatch.setattr(BaseConnection, "drain", fail_first)
    with ExitStack() as stack:
        server = stack.enter_context(engine.server(Recorder(), drain_quiet="0.2"))
        peers = [stack.enter_context(Peer(server.addresses[0])) for _ in range(2 * MOST_ENDED)]
        for peer in peers:
            assert peer.ask(b"hello") == b"hello"
        loop = server._loop
        assert loop is not None
        until(lambda: all(silence(each) > 0.2 for each in loop.connections()))
        busy = stack.enter_context(Peer(server.addresses[0]))
        assert busy.ask(b"hello") == b"hello"
        server.stop(grace=3600)
        assert busy.receive_all() == b""
        for peer in peers:
            if address.peer_name(peer.socket.getsockname()) != failed[0]:
                assert peer.receive_all() == b""
    assert log.take() == ["a callback of the loop raised"]


# ---- Delay


def test_it_goes_on_accepting_during_the_delay(engine: Engine) -> None:
    """The first that is not served comes no earlier than the end of it."""
    with serving(*engine.flags, "--drain-delay", "0.5", "--drain-quiet", "0") as server:
        start = time.monotonic()
        server.signal(signal.SIGTERM)
        until(lambda: not _is_served(server.address))
        assert time.monotonic() - start >= 0.5
        assert server.wait() == 0


def _is_served(address: str) -> bool:
    """Has a new connection its reply?"""
    try:
        with Peer(address) as peer:
            peer.send(frame(b"hello"))
            return peer.receive(9) == frame(b"hello")
    except OSError:
        return False


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_the_delay_and_nothing_else(
    engine: Engine, second: signal.Signals
) -> None:
    flags = ["--drain-delay", "1h", "--drain-quiet", "1h", "--graceful-timeout", "2h"]
    app = "tests.farewells:Plain"
    with serving(app, *engine.flags, *flags) as server, Peer(server.address) as peer:
        assert peer.ask(b"hello") == b"hello"
        server.signal(signal.SIGTERM)
        assert server.line() == "stopping\n"
        assert not is_refused(server.address)
        server.signal(second)
        until(lambda: is_refused(server.address))
        if second == signal.SIGTERM:  # the drain has begun, and waits for a pause
            assert peer.ask(b"still here") == b"still here"
            server.signal(signal.SIGTERM)
            assert peer.receive_until_gone() == b""
        else:
            assert peer.receive_all() == frame(b"bye")
        assert server.wait() == 0


# ---- Hooks


@every_mode
@pytest.mark.parametrize("engine", ENGINES, ids=str)
def test_the_farewell_is_the_last_message(zygote: Zygote, engine: Engine, mode: str) -> None:
    app, flags = MODES[mode]
    with (
        zygote.serving(app, *engine.flags, *flags, "--drain-quiet", "0.2", env={}) as server,
        Peer(server.address) as first,
        Peer(server.address) as second,
    ):
        assert first.ask(b"hello") == b"hello"
        assert second.ask(b"hello") == b"hello"
        server.signal(signal.SIGTERM)
        assert server.line() == "stopping\n"
        assert first.receive_all() == frame(b"bye")
        assert second.receive_all() == frame(b"bye")
        assert server.wait() == 0, server.log
        assert server.line() == "stopped\n"
        assert server.log == []


@every_mode
@pytest.mark.parametrize("hook", ["stopping", "closing"])
def test_a_hook_that_raises_is_logged_and_ends_its_own_connection_at_most(
    zygote: Zygote, mode: str, hook: str
) -> None:
    app, flags = MODES[mode]
    env = {"RAISES": hook}
    with (
        zygote.serving(app, *flags, "--drain-quiet", "0.2", env=env) as server,
        Peer(server.address) as unlucky,
        Peer(server.address) as other,
    ):
        assert unlucky.ask(b"unlucky") == b"unlucky"
        assert other.ask(b"hello") == b"hello"
        server.signal(signal.SIGTERM)
        assert other.receive_all() == frame(b"bye")
        assert unlucky.receive_all() == (b"" if hook == "closing" else frame(b"bye"))
        assert server.wait() == 0, server.log
        assert sum("ValueError: on purpose" in line for line in server.log) == 1, server.log


@every_mode
@pytest.mark.parametrize("hook", ["stopping", "closing"])
def test_a_hook_that_never_returns_holds_up_nobody_for_longer_than_the_grace(
    zygote: Zygote, mode: str, hook: str
) -> None:
    app, flags = MODES[mode]
    env = {"STICKS": hook}
    with (
        zygote.serving(
            app, *flags, "--drain-quiet", "0", "--graceful-timeout", "0.3", env=env
        ) as server,
        Peer(server.address) as peer,
    ):
        assert peer.ask(b"unlucky") == b"unlucky"
        server.signal(signal.SIGTERM)
        peer.receive_until_gone()
        assert server.wait() == 0, server.log


def test_an_async_stopping_is_waited_for_while_new_connections_are_served(
    zygote: Zygote, engine: Engine
) -> None:
    env = {"WAITS": "1"}
    flags = [*engine.flags, "--drain-quiet", "0"]
    with zygote.serving("tests.farewells:Async", *flags, env=env) as server:
        server.signal(signal.SIGTERM)
        assert server.line() == "stopping\n"
        with Peer(server.address) as peer:
            assert peer.ask(b"go") == b"go"  # which ends the wait
            assert peer.receive_all() == frame(b"bye")
        assert server.wait() == 0, server.log


def test_no_farewell_for_a_connection_that_ends_otherwise(engine: Engine, log: Log) -> None:
    farewells: list[str] = []

    class App(Recorder):
        def closing(self, connection: Connection) -> None:
            farewells.append(connection.peername)

    handler = App()
    with engine.server(handler) as server:
        with Peer(server.addresses[0]) as peer:
            assert peer.ask(b"hello") == b"hello"
            handler.connection().close()
            assert peer.receive_all() == b""
        assert handler.end() is CloseReason.LOCAL
        with Peer(server.addresses[0]) as peer:
            assert peer.ask(b"hello") == b"hello"
            handler.connection().drain()  # its own
            assert peer.receive_all() == b""
    assert farewells == []


def test_a_farewell_may_abort_or_close(engine: Engine) -> None:
    ways: list[Callable[[Connection], object]] = [
        lambda connection: connection.close(),
        lambda connection: connection.abort(),
        lambda connection: connection.pause_reading(),
        lambda connection: connection.drain(),
    ]
    for way in ways:

        class App(Recorder):
            leave = staticmethod(way)

            def closing(self, connection: Connection) -> None:
                self.leave(connection)

        handler = App()
        with (
            engine.server(handler, drain_quiet="50ms") as server,
            Peer(server.addresses[0]) as peer,
        ):
            assert peer.ask(b"hello") == b"hello"
            server.stop(grace=3600)
            assert peer.receive_until_gone() == b""
        assert handler.end() in (CloseReason.SHUTDOWN, CloseReason.LOCAL)


def test_on_the_callers_loop(engine: Engine, run: Callable[[Any], None]) -> None:
    calls: list[str] = []

    class App:
        async def received(self, message: bytes, connection: Connection) -> bytes:
            return message

        async def stopping(self, server: Server) -> None:
            await asyncio.sleep(0)
            calls.append("stopping")

        async def closing(self, connection: Connection) -> None:
            await asyncio.sleep(0)
            calls.append("closing")
            connection.send(b"bye")

    async def test() -> None:
        server = engine.server(App(), drain_quiet="50ms")
        server.start()
        serving = asyncio.create_task(server.serve())
        host, _, port = server.addresses[0].rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(frame(b"hello"))
        assert await reader.readexactly(9) == frame(b"hello")
        server.stop()
        assert await reader.read() == frame(b"bye")
        writer.close()
        await serving
        assert calls == ["stopping", "closing"]

    run(test())


def test_the_kernel_tells_when_data_came_last() -> None:
    """Also what has not been read; and nothing of a Unix socket."""
    from epollo.engine.tcp_info import seconds_since_data

    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.create_connection(listener.getsockname()) as peer,
        listener.accept()[0] as sock,
    ):
        until(lambda: (seconds_since_data(sock.fileno()) or 0) > 0.2)
        sending = time.monotonic()
        peer.send(b"unread")

        def is_of_that() -> bool:
            seconds = seconds_since_data(sock.fileno())
            return seconds is not None and seconds < 0.1 + time.monotonic() - sending

        until(is_of_that)
    one, other = socket.socketpair()
    with one, other:
        assert seconds_since_data(one.fileno()) is None
