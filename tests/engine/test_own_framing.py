"""A framing of the user's own: what its bugs may break, and what the engines promise it."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest

import epollo
from epollo import AsyncClient, CloseReason, Connection, EncodeError, FrameTooLarge, Server
from epollo.engine import available
from epollo.errors import SettingError
from epollo.framing import Buffer, Decoder, Framing, Line
from tests.clock import Clock
from tests.engines import Engine
from tests.logs import Log
from tests.support import DEADLINE, SHORTLY, Peer, Recorder


class Own(Framing):
    """Every read is a message; what `encode`, `feed` and `eof` do with the message ``bad`` is up to
    the test."""

    def __init__(
        self,
        encode: Callable[[], Any] = lambda: b"bad",
        feed: Callable[[], Any] = lambda: [b"bad"],
        eof: Callable[[], Any] = lambda: None,
    ) -> None:
        super().__init__("own", 1 << 20)
        self.encode_bad, self.feed_bad, self.eof = encode, feed, eof

    def encode(self, message: Buffer) -> Any:
        return self.encode_bad() if message == b"bad" else bytes(message)

    def decoder(self) -> Decoder:
        return OwnDecoder(self)


class OwnDecoder(Decoder):
    def __init__(self, framing: Own) -> None:
        self._framing = framing

    def feed(self, data: Buffer) -> Any:
        return self._framing.feed_bad() if bytes(data) == b"bad" else [bytes(data)]

    def eof(self) -> None:
        self._framing.eof()


class Room:
    """Answers each message by ``send``, or as its reply, or publishes it to one connection."""

    def __init__(self, how: str = "replied") -> None:
        self.opened: list[Connection] = []
        self.server: Server
        self._how = how

    def connected(self, connection: Connection) -> None:
        connection.join(f"number {len(self.opened)}")
        self.opened.append(connection)

    def received(self, message: bytes, connection: Connection) -> bytes | None:
        if self._how == "replied":
            return message
        if self._how == "sent":
            connection.send(message)
        else:
            self.server.publish(f"number {self.opened.index(connection)}", message)
        return None


class Records(logging.Handler):
    """What is logged from INFO on: its level, and whether it has a traceback."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.found: list[tuple[str, bool]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.found.append((record.levelname, record.exc_info is not None))


@pytest.fixture
def records(log: Log) -> Iterator[Records]:
    """The log of a test that takes it all."""
    logger, handler = logging.getLogger("epollo"), Records()
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield handler
    logger.setLevel(logging.NOTSET)
    logger.removeHandler(handler)
    log.take()


@contextmanager
def running(server: Server) -> Iterator[Server]:
    """Run ``server`` in a thread, as its block does. A bug may end it: that error is dropped."""

    def run() -> None:
        with suppress(Exception):
            server.run()

    server.start()
    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield server
    finally:
        server.stop(0)
        thread.join()


def exchange(server: Server) -> tuple[bytes, bytes]:
    """What one peer is sent for ``bad`` until it is closed, and another one for ``good``; nothing
    if the latter is not served, or the former not closed."""
    with Peer(server.addresses[0]) as good, Peer(server.addresses[0]) as bad:
        bad.send(b"bad")
        good.socket.settimeout(SHORTLY)
        served = b""
        for _ in range(2):  # turns of the loop; the bad one has to be closed in the first
            with suppress(ConnectionError, TimeoutError):
                good.send(b"good")
                served = good.receive(4)
        bad.socket.settimeout(0.2)
        try:
            return bad.receive_all(), served
        except ConnectionError:
            return b"", served
        except TimeoutError:
            return b"not closed", served


def raises() -> None:
    raise ValueError("a bug")


# The connection is closed, the other one served, and the log has an error with its traceback.
CONTAINED = ((b"", b"good"), [("ERROR", True)])


@pytest.mark.parametrize("returned", [None, 5, ValueError], ids=str)
def test_a_bug_of_a_decoder_ends_its_connection_with_a_traceback(
    engine: Engine, records: Records, returned: Any
) -> None:
    framing = Own(feed=raises if returned is ValueError else lambda: returned)
    with running(engine.server(Room(), framing=framing)) as server:
        found = exchange(server)
    assert (found, records.found) == CONTAINED


def test_a_bug_at_the_end_of_a_stream_is_an_error_with_its_traceback(
    engine: Engine, records: Records
) -> None:
    with engine.server(Room(), framing=Own(eof=raises)) as server, Peer(server.addresses[0]) as bad:
        bad.send(b"good")
        bad.end()
        assert bad.receive_all() == b"good"
    assert records.found == [("ERROR", True)]


@pytest.mark.parametrize("how", ["replied", "sent", "published"])
@pytest.mark.parametrize("returned", [None, "text"], ids=str)
def test_a_bug_of_an_encoder_ends_its_connection_with_a_traceback(
    engine: Engine, records: Records, returned: Any, how: str
) -> None:
    handler = Room(how)
    handler.server = engine.server(handler, framing=Own(encode=lambda: returned))
    with running(handler.server) as server:
        found = exchange(server)
    assert (found, records.found) == CONTAINED


@pytest.mark.parametrize("returned", [None, "text"], ids=str)
def test_a_bug_of_an_encoder_is_told_to_the_thread_that_sends(
    engine: Engine, records: Records, returned: Any
) -> None:
    handler = Room()
    with (
        running(engine.server(handler, framing=Own(encode=lambda: returned))) as server,
        Peer(server.addresses[0]) as peer,
    ):
        peer.send(b"good")
        assert peer.receive(4) == b"good"
        with pytest.raises((TypeError, EncodeError)):
            handler.opened[0].send(b"bad")


@pytest.mark.skipif(len(available()) < 2, reason="the native engine is not built")
@pytest.mark.parametrize("kind", [bytearray, memoryview])
def test_a_frame_that_is_no_bytes_is_the_same_to_both_engines(
    records: Records, kind: type[bytearray] | type[memoryview]
) -> None:
    """Either sends it, or either refuses it."""
    found = []
    for name in available():
        framing = Own(encode=lambda: kind(b"frame"))
        with (
            Server(Room(), "127.0.0.1:0", framing=framing, engine=name) as server,
            Peer(server.addresses[0]) as peer,
        ):
            peer.send(b"bad")
            peer.end()
            found.append(peer.receive_all())
    assert found[0] == found[1]


def test_a_decoder_is_told_of_the_end_once_and_at_the_end(engine: Engine, clock: Clock) -> None:
    told: list[str] = []
    swept = threading.Event()

    class Told(Room):
        def disconnected(self, connection: Connection, reason: CloseReason) -> None:
            if reason is CloseReason.IDLE_TIMEOUT:
                swept.set()

    own = Own(eof=lambda: told.append("the end"))
    with engine.server(Told(), framing=own, idle_timeout=0.2) as server:
        with Peer(server.addresses[0]) as peer, Peer(server.addresses[0]):
            while not swept.is_set():  # the idle one is closed: some sweeps have passed
                peer.send(b"good")
                assert peer.receive(4) == b"good"
                clock.tick()
            assert told == []
            peer.end()
            assert peer.receive_all() == b""
        assert told == ["the end"]


def test_a_decoder_is_told_of_the_end_of_an_empty_stream(engine: Engine) -> None:
    told: list[str] = []
    own = Own(eof=lambda: told.append("the end"))
    with engine.server(Room(), framing=own) as server, Peer(server.addresses[0]) as peer:
        peer.end()
        assert peer.receive_all() == b""
    assert told == ["the end"]


def test_a_decoder_may_have_an_attribute_of_the_name_partial(engine: Engine) -> None:
    class Lines(OwnDecoder):
        partial: bytes

        def __init__(self, framing: Own) -> None:
            super().__init__(framing)
            self.partial = b""

        def feed(self, data: Buffer) -> list[bytes]:
            *lines, rest = (self.partial + bytes(data)).split(b"\n")
            self.partial = rest
            return lines

    class OwnLines(Own):
        def decoder(self) -> Decoder:
            return Lines(self)

    handler = Recorder()
    with (
        engine.server(handler, framing=OwnLines(), frame_timeout=0.5, idle_timeout=0) as server,
        Peer(server.addresses[0]) as peer,
    ):
        peer.send(b"whole\n")
        assert peer.receive(5) == b"whole"
        peer.send(b"begun")
        assert peer.receive_all() == b""
        assert handler.end() is CloseReason.FRAME_TIMEOUT


def test_max_frame_holds_for_a_framing_that_is_an_object(engine: Engine) -> None:
    """Or it is refused: the object has a limit of its own."""
    try:
        server = engine.server(bytes.upper, framing=Line("line", max_frame=1000), max_frame=10)
    except SettingError:
        return
    with server, Peer(server.addresses[0]) as peer:
        peer.send(b"far too long\n")
        peer.end()
        assert peer.receive_all() == b""


@pytest.mark.parametrize("kind", ["Client", "AsyncClient"])
def test_max_frame_of_a_client_holds_for_a_framing_that_is_an_object(kind: str) -> None:
    own = Line("line", max_frame=1000)
    with (
        Server(lambda _: b"far too long", "127.0.0.1:0", framing="line") as server,
        pytest.raises((SettingError, FrameTooLarge)),
    ):
        ask(kind, server.addresses[0], framing=own, max_frame=10)


def ask(kind: str, where: str, **settings: Any) -> bytes:
    if kind == "Client":
        with epollo.connect(where, timeout=DEADLINE, **settings) as client:
            return client.request(b"hello")

    async def request() -> bytes:
        async with AsyncClient(where, timeout=DEADLINE, **settings) as client:
            return await client.request(b"hello")

    return asyncio.run(request())
