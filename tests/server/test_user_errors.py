"""Whatever an application raises, in whatever hook and mode, ends at most its own connection, and
every call completes: nothing of it is left, and a stop finds nothing to wait for."""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from epollo import CloseReason, Connection, LocalBroker, Refusal
from epollo.framing import Buffer, LengthPrefix
from tests.engines import Engine
from tests.logs import Log
from tests.support import DEADLINE, Peer, frame, until


@pytest.fixture(autouse=True, scope="module")
def first_loop_of_uvloop() -> None:
    """libuv keeps two descriptors of its first loop."""
    pytest.importorskip("uvloop").new_event_loop().close()


class Panic(BaseException):
    """What a library may raise that is no Exception: PyO3's PanicException, gevent's Timeout."""


KINDS = [ValueError, Panic, GeneratorExit, asyncio.CancelledError]
EXITS = [KeyboardInterrupt, SystemExit]
HOOKS = ["connected", "received", "disconnected"]


class Application(ABC):
    """Echoes, and notes what it is told. One hook raises, for the peer that says "bad" first, or
    for the first peer."""

    def __init__(self, hook: str, kind: type[BaseException]) -> None:
        self.hook = hook
        self.kind = kind
        self.told: queue.Queue[tuple[str, str]] = queue.Queue()
        self._first = True

    @abstractmethod
    def received(self, message: bytes, connection: Connection) -> Any:
        """A reply, or a coroutine that returns it."""

    def note(self, hook: str, connection: Connection, what: object = "") -> None:
        if hook == "connected":
            connection.state, self._first = self._first, False
        self.told.put((hook, str(what)))
        if hook == self.hook and connection.state:
            raise self.kind

    def ends(self, count: int) -> list[str]:
        """The reasons of so many ends."""
        reasons: list[str] = []
        while len(reasons) < count:
            hook, what = self.told.get(timeout=DEADLINE)
            reasons += [what] if hook == "disconnected" else []
        return reasons


class Plain(Application):
    def connected(self, connection: Connection) -> None:
        self.note("connected", connection)

    def received(self, message: bytes, connection: Connection) -> Any:
        self.note("received", connection, message)
        return message

    def disconnected(self, connection: Connection, reason: CloseReason) -> None:
        self.note("disconnected", connection, reason)


class FirstStep(Application):
    async def connected(self, connection: Connection) -> None:
        self.note("connected", connection)

    async def received(self, message: bytes, connection: Connection) -> Any:
        self.note("received", connection, message)
        return message

    async def disconnected(self, connection: Connection, reason: CloseReason) -> None:
        self.note("disconnected", connection, reason)


class LaterStep(Application):
    async def connected(self, connection: Connection) -> None:
        await asyncio.sleep(0)
        self.note("connected", connection)

    async def received(self, message: bytes, connection: Connection) -> Any:
        await asyncio.sleep(0)
        self.note("received", connection, message)
        return message

    async def disconnected(self, connection: Connection, reason: CloseReason) -> None:
        await asyncio.sleep(0)
        self.note("disconnected", connection, reason)


class LazyReply(Plain):
    """Its reply is a generator."""

    def received(self, message: bytes, connection: Connection) -> Iterator[bytes]:
        yield message
        self.note("received", connection, message)


class LazyLater(LaterStep):
    async def received(self, message: bytes, connection: Connection) -> Any:
        await asyncio.sleep(0)
        return LazyReply.received(self, message, connection)  # type: ignore[arg-type]


MODES: dict[str, tuple[type[Application], dict[str, Any]]] = {
    "plain": (Plain, {}),
    "lazy": (LazyReply, {}),
    "threads": (Plain, {"threads": 2}),
    "threads-unordered": (Plain, {"threads": 2, "ordered": False, "in_flight": 4}),
    "threads-lazy": (LazyReply, {"threads": 2}),
    "asyncio-first-step": (FirstStep, {"loop": "asyncio"}),
    "asyncio-later": (LaterStep, {"loop": "asyncio"}),
    "asyncio-lazy": (LazyLater, {"loop": "asyncio"}),
    "uvloop-first-step": (FirstStep, {"loop": "uvloop"}),
    "uvloop-later": (LaterStep, {"loop": "uvloop", "ordered": False, "in_flight": 4}),
}

every_mode = pytest.mark.parametrize("mode", MODES)
every_hook = pytest.mark.parametrize("hook", HOOKS)


def expected_lines(hook: str) -> list[str]:
    return ["the handler raised in disconnected"] if hook == "disconnected" else []


@every_mode
@every_hook
@pytest.mark.parametrize("kind", KINDS)
def test_it_ends_its_own_connection(
    engine: Engine, mode: str, hook: str, kind: type[BaseException], log: Log
) -> None:
    application, settings = MODES[mode]
    handler = application(hook, kind)
    with engine.server(handler, **settings) as server:
        with Peer(server.addresses[0]) as bad, ExitStack() as stack:
            until(handler.told.qsize)  # with threads, the second one could be told of first
            good = stack.enter_context(Peer(server.addresses[0]))
            bad.send(frame(b"bad") + frame(b"later") + frame(b"part")[:5])
            if hook == "disconnected":
                replies = [bad.message(), bad.message()]
                assert (sorted(replies) if "unordered" in mode else replies) == [b"bad", b"later"]
                bad.end()
            lazy = hook == "received" and mode in ("lazy", "asyncio-lazy")
            echoed = frame(b"bad") if lazy else b""
            assert bad.receive_until_gone() == echoed
            bad.close()  # the server lingers until then
            assert good.ask(b"good") == b"good"
            reason = "truncated" if hook == "disconnected" else "handler_error"
            assert handler.ends(1) == [reason]
            good.end()
            assert good.receive_all() == b""
        assert handler.ends(1) == ["eof"]
        until(lambda: server.counters.open == 0)
    raised = [line for line in log.take() if not line.startswith("handler ")]
    assert raised == expected_lines(hook)


@every_mode
@every_hook
@pytest.mark.parametrize("kind", EXITS)
def test_an_exit_ends_its_connection_and_then_the_server(
    engine: Engine, mode: str, hook: str, kind: type[BaseException], log: Log
) -> None:
    application, settings = MODES[mode]
    handler = application(hook, kind)
    server = engine.server(handler, **settings)
    server.start()

    peers = [bad := Peer(server.addresses[0])]

    def leave() -> None:
        until(handler.told.qsize)
        try:
            peers.append(Peer(server.addresses[0]))
            bad.send(frame(b"bad"))
            bad.receive(7)
            bad.end()
        except OSError:  # the server has ended
            pass

    leaving = threading.Thread(target=leave)
    leaving.start()
    with pytest.raises(kind):
        server.run()
    leaving.join(DEADLINE)
    for peer in peers:
        peer.close()
    reasons = [what for told, what in tuple(handler.told.queue) if told == "disconnected"]
    reasons.remove("eof" if hook == "disconnected" else "handler_error")
    assert reasons in ([], ["shutdown"])  # the other one may not have been accepted yet
    raised = [line for line in log.take() if not line.startswith("handler ")]
    assert raised == expected_lines(hook)


class Calling(Plain):
    """Has what may raise called later."""

    def received(self, message: bytes, connection: Connection) -> Any:
        connection.call_later(0, self.note, "received", connection, message)
        return message


class AsyncCalling(Calling):
    async def received(self, message: bytes, connection: Connection) -> Any:
        return super().received(message, connection)


class Tasks(FirstStep):
    """Has it done by a task."""

    async def received(self, message: bytes, connection: Connection) -> Any:
        connection.create_task(self.work(message, connection))
        return message

    async def work(self, message: bytes, connection: Connection) -> None:
        self.note("received", connection, message)


class LaterTasks(Tasks):
    async def work(self, message: bytes, connection: Connection) -> None:
        await asyncio.sleep(0)
        await super().work(message, connection)


class Generating(LaterStep):
    """Its reply is an async generator."""

    async def received(self, message: bytes, connection: Connection) -> Any:
        yield message
        await asyncio.sleep(0)
        self.note("received", connection, message)


BELATED: dict[str, tuple[type[Application], dict[str, Any]]] = {
    "call": (Calling, {}),
    "threads-call": (Calling, {"threads": 2}),
    "threads-unordered-call": (Calling, {"threads": 2, "ordered": False, "in_flight": 4}),
    "asyncio-call": (AsyncCalling, {"loop": "asyncio"}),
    "asyncio-task": (Tasks, {"loop": "asyncio"}),
    "uvloop-later-task": (LaterTasks, {"loop": "uvloop"}),
    "asyncio-generator": (Generating, {"loop": "asyncio"}),
    "uvloop-generator": (Generating, {"loop": "uvloop", "ordered": False, "in_flight": 4}),
}

every_belated_mode = pytest.mark.parametrize("mode", BELATED)


@every_belated_mode
@pytest.mark.parametrize("kind", KINDS)
def test_what_comes_later_ends_its_own_connection(
    engine: Engine, mode: str, kind: type[BaseException], log: Log
) -> None:
    """After the reply, or a part of it; a thread may be overtaken by what it has asked for."""
    application, settings = BELATED[mode]
    handler = application("received", kind)
    replies = {frame(b"bad"), b""} if "threads" in settings else {frame(b"bad")}
    with engine.server(handler, **settings) as server:
        with Peer(server.addresses[0]) as bad:
            until(handler.told.qsize)
            with Peer(server.addresses[0]) as good:
                bad.send(frame(b"bad"))
                assert bad.receive_until_gone() in replies
                bad.close()
                assert good.ask(b"good") == b"good"
                assert handler.ends(1) == ["handler_error"]
                good.end()
                assert good.receive_all() == b""
        assert handler.ends(1) == ["eof"]
        until(lambda: server.counters.open == 0)
    assert [line.split(" ")[0] for line in log.take()] == ["handler"]


@every_belated_mode
@pytest.mark.parametrize("kind", EXITS)
def test_an_exit_that_comes_later_ends_its_connection_and_then_the_server(
    engine: Engine, mode: str, kind: type[BaseException], log: Log
) -> None:
    application, settings = BELATED[mode]
    handler = application("received", kind)
    server = engine.server(handler, **settings)
    server.start()
    with Peer(server.addresses[0]) as bad:
        bad.send(frame(b"bad"))
        with pytest.raises(kind):
            server.run()
    assert handler.ends(1) == ["handler_error"]
    assert [line.split(" ")[0] for line in log.take()] == ["handler"]


class Choosy(LengthPrefix):
    """A framing that cannot encode "bad"."""

    def encode(self, message: Buffer) -> bytes:
        if bytes(message) == b"bad":
            raise Panic
        return super().encode(message)


def test_what_one_server_cannot_encode_ends_nothing_of_another_that_publishes_it(
    engine: Engine, log: Log
) -> None:
    def join(message: bytes, connection: Connection) -> bytes:
        connection.join("all")
        return message

    broker = LocalBroker()
    choosy = engine.server(join, framing=Choosy("choosy", 1 << 20, size=4), broker=broker)
    servers: list[Any] = []

    def publish(message: bytes) -> bytes:
        servers[0].publish("all", message)
        return b"published"

    servers.append(engine.server(publish, broker=broker))
    with (
        servers[0] as server,
        choosy,
        Peer(choosy.addresses[0]) as member,
        Peer(server.addresses[0]) as peer,
    ):
        assert member.ask(b"join") == b"join"
        assert peer.ask(b"bad") == b"published"
        assert peer.ask(b"good") == b"published"
        assert member.message() == b"good"
    assert [line.split(":")[0] for line in log.take()] == ["not delivered to group 'all'"]


@contextmanager
def raising(name: str, kind: type[BaseException]) -> Iterator[list[str]]:
    """A filter of the user's raises for every line of the logger ``name``, which are returned."""
    lines: list[str] = []

    def filtered(record: logging.LogRecord) -> bool:
        lines.append(record.getMessage())
        raise kind

    logger = logging.getLogger(name)
    logger.addFilter(filtered)
    logger.setLevel(logging.DEBUG)
    try:
        yield lines
    finally:
        logger.setLevel(logging.NOTSET)
        logger.removeFilter(filtered)


@pytest.mark.parametrize("kind", KINDS)
def test_a_log_that_raises_keeps_no_call_from_coming(
    engine: Engine, kind: type[BaseException], capsys: pytest.CaptureFixture[str]
) -> None:
    handler = Plain("nothing", ValueError)
    with raising("epollo.server", kind) as lines, engine.server(handler) as server:
        for _ in range(3):
            with Peer(server.addresses[0]) as peer:
                peer.send(b"\xff\xff\xff\xff")
                assert peer.receive_all() == b""
            assert handler.ends(1) == ["frame_too_large"]
    assert "frame_too_large" in lines[0]
    assert kind.__name__ in capsys.readouterr().err


class Speechless(Exception):
    """What it says cannot be told."""

    def __str__(self) -> str:
        raise ValueError("no text")


def test_an_error_whose_text_raises_ends_its_connection(
    engine: Engine, tmp_path: Path, log: Log
) -> None:
    """With all that keeps the text: the log, and the list of closed connections."""
    handler = Plain("received", Speechless)
    with engine.server(handler, control=tmp_path / "control") as server:
        with Peer(server.addresses[0]) as peer:
            peer.send(frame(b"bad"))
            assert peer.receive_all() == b""
        assert handler.ends(1) == ["handler_error"]
        assert server.counters.closed[CloseReason.HANDLER_ERROR] == 1
    assert [line.split(",")[0] for line in log.take()] == ["handler Plain raised"]


@pytest.mark.parametrize("kind", EXITS)
def test_an_exit_in_a_log_ends_the_server_after_the_call_has_come(
    engine: Engine, kind: type[BaseException], log: Log
) -> None:
    handler = Plain("nothing", ValueError)
    server = engine.server(handler)
    server.start()
    with raising("epollo.server", kind), Peer(server.addresses[0]) as peer:
        peer.send(b"\xff\xff\xff\xff")
        with pytest.raises(kind):
            server.run()
    assert handler.ends(1) == ["frame_too_large"]
    log.take()


@pytest.mark.parametrize("kind", KINDS)
def test_a_refusal_holds_though_the_log_raises(
    engine: Engine, kind: type[BaseException], capsys: pytest.CaptureFixture[str]
) -> None:
    """Also that of a client behind a proxy, whose connection is served until it is known."""
    handler = Plain("nothing", ValueError)
    settings: Any = {"max_per_ip": 1, "proxy_protocol": "optional"}
    with raising("epollo.server", kind) as lines, engine.server(handler, **settings) as server:
        with Peer(server.addresses[0]) as first, Peer(server.addresses[0]) as second:
            for peer in (first, second):
                peer.send(b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n" + frame(b"hello"))
            assert first.message() == b"hello"
            assert second.receive_all() == b""
        assert handler.ends(1) == ["eof"]
    assert server.counters.refused[Refusal.MAX_PER_IP] == 1
    assert any("max_per_ip" in line for line in lines)
    assert kind.__name__ in capsys.readouterr().err


@pytest.mark.parametrize("kind", KINDS + EXITS)
def test_an_access_log_goes_on_though_a_line_raises(
    engine: Engine, kind: type[BaseException], capsys: pytest.CaptureFixture[str]
) -> None:
    handler = Plain("nothing", ValueError)
    with (
        raising("epollo.access", kind) as lines,
        engine.server(handler, access_log="log") as server,
    ):
        for _ in range(3):
            with Peer(server.addresses[0]) as peer:
                assert peer.ask(b"hello") == b"hello"
        until(lambda: len(lines) == 3)
    assert kind.__name__ in capsys.readouterr().err
