"""What runs in the middle of the engine's own work: signal handlers, finalizers, a user's framing.

Each may send on the connection that is being served, close it, abort it, drain it, or close the
loop. Whatever is sent meanwhile: the peer gets whole frames, none is lost or sent twice, and what
a filter made comes in the order in which it was made. `make sanitize` runs this with
AddressSanitizer in the native engine, which sees a buffer that is overrun.
"""

from __future__ import annotations

import gc
import itertools
import signal
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import pytest

from epollo import CloseReason, Connection, ConnectionClosed
from epollo.engine import EventLoop, Limits
from epollo.errors import FilterError, TLSError
from epollo.framing import Buffer, Decoder, Framing, parse
from tests.certificates import server_context, trusting
from tests.engine.support import Protocol, turn_until
from tests.engines import Engine
from tests.logs import Log
from tests.support import DEADLINE, frame

LENGTH = struct.Struct(">I")
RECORD = struct.Struct(">II")  # number and size of a record

# So many replies of such a size: many in one send, as many as just fit, and each sent by itself.
SIZES = {"many": (600, 20), "full": (20, 4092), "long": (6, 20_000)}
MEDDLED = 5  # times in a test


class Meddler:
    """Does its deed in the middle of something, a few times, and never within itself."""

    def __init__(self, loop: EventLoop, deed: str, by_signal: bool) -> None:
        self.loop = loop
        self.deed = deed
        self.by_signal = by_signal
        self.connection: Connection | None = None
        self.sent: list[bytes] = []  # by it
        self.left = MEDDLED
        self.ran = 0
        self._busy = False

    def __call__(self, *_: object) -> None:
        """The place is here."""
        if self.connection is None or self._busy or not self.left:
            return
        self.left -= 1
        self.ran += 1
        self._busy = True
        try:
            if self.by_signal:
                signal.raise_signal(signal.SIGUSR1)
            else:
                self.act()
        finally:
            self._busy = False

    def act(self, *_about: object) -> None:
        """The deed; also as a signal handler."""
        connection = self.connection
        assert connection is not None
        match self.deed:
            case "send a little":
                self._send(8)
            case "send as much as fits":
                for _ in range(16):  # to the last byte of what the native engine sends at once
                    self._send(4092)
            case "send much":
                self._send(30_000)
            case "send many":
                for _ in range(40):
                    self._send(2000)
            case "pause and resume":
                connection.pause_reading()
                connection.resume_reading()
            case "close":
                connection.close()
            case "drain":
                connection.drain()
            case "abort":
                connection.abort()
            case "poll":
                with pytest.raises(RuntimeError, match="a turn of the loop is not over"):
                    self.loop.poll(0)
            case "close the loop":
                self.loop.close()

    def _send(self, size: int) -> None:
        message = (b"meddled %d " % len(self.sent)).ljust(size, b"m")[:size]
        assert self.connection is not None
        try:
            self.connection.send(message)
        except ConnectionClosed:
            return
        self.sent.append(message)


SENDS = ["send a little", "send as much as fits", "send much", "send many"]
OTHERS = ["pause and resume", "close", "drain", "abort", "poll", "close the loop"]


class Records:
    """A filter that numbers what it sends, as TLS does: a record out of order breaks the stream."""

    fault: ClassVar[type[FilterError]] = TLSError
    timeout = 1.0
    established = True
    handshake_only = speaks_first = ended = partial = False
    peername = tls = None

    def __init__(self, meddle: Callable[[], object], method: str) -> None:
        self._meddle = meddle
        self._method = method
        self._number = 0
        self.output = ssl.MemoryBIO()

    def _in(self, method: str) -> None:
        if method == self._method:
            self._meddle()

    def received(self, data: bytes) -> bytes:
        self._in("received")
        return data

    def send(self, data: bytes) -> bytes:
        self._in("send")
        self.output.write(RECORD.pack(self._number, len(data)) + data)
        self._number += 1
        self._in("send")
        return self.output.read()

    def eof(self) -> None:
        pass

    def close(self) -> bytes:
        return b""


class Meddled(Framing):
    """u32 in a user's own code, which meddles."""

    def __init__(self, meddle: Callable[[], object]) -> None:
        super().__init__("meddled", 1 << 20)
        self.meddle = meddle
        self._plain = parse("u32")

    def encode(self, message: Buffer) -> bytes:
        self.meddle()
        return self._plain.encode(message)

    def decoder(self) -> Decoder:
        return MeddledDecoder(self.meddle, self._plain.decoder())


class MeddledDecoder(Decoder):
    def __init__(self, meddle: Callable[[], object], plain: Decoder) -> None:
        self._meddle = meddle
        self._plain = plain

    def feed(self, data: Buffer) -> list[bytes]:
        self._meddle()
        messages = self._plain.feed(data)
        self._meddle()
        return messages

    def eof(self) -> None:
        self._plain.eof()


class Fragile:
    """Meddles when it is freed, as a finalizer does."""

    def __init__(self, meddle: Callable[[], object]) -> None:
        self._meddle = meddle

    def __del__(self) -> None:
        self._meddle()


class Place(Protocol):
    """Echoes at the size that is asked for; the meddler runs at one place."""

    def __init__(self, meddler: Meddler, place: str, size: int) -> None:
        self.meddler = meddler
        self._place = place
        super().__init__(limits=Limits(high_water=1 << 20, max_unsent=1 << 25))
        self.received = self._received
        self.size = size
        self.answered: list[bytes] = []
        self.filters: Any = None
        if place.startswith("filter"):
            self.filters = lambda _: [Records(meddler, place.removeprefix("filter "))]
        if place == "framing":
            self.framing = Meddled(meddler)

    @property
    def limits(self) -> Limits:
        if self._place == "limits":
            self.meddler()
        return self._limits

    @limits.setter
    def limits(self, limits: Limits) -> None:
        self._limits = limits

    def _received(self, message: bytes, connection: Connection) -> Any:
        reply = message.ljust(self.size, b"r")
        self.answered.append(reply)
        match self._place:
            case "handler":
                self.meddler()
            case "generator":
                return self._lazily(reply)
            case "finalizer":
                connection.state = Fragile(self.meddler)
            case "finalizer in a cycle":
                connection.state = [Fragile(self.meddler)]
                connection.state.append(connection.state)
                connection.state = None
        return reply

    def _lazily(self, reply: bytes) -> Iterator[bytes]:
        self.meddler()
        yield reply
        self.meddler()


PLACES = [
    "handler",
    "generator",
    "filter received",
    "filter send",
    "framing",
    "limits",
    "finalizer",
    "finalizer in a cycle",
]


@contextmanager
def handling(handler: Callable[..., object]) -> Iterator[None]:
    before = signal.signal(signal.SIGUSR1, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGUSR1, before)


@contextmanager
def collecting_often(place: str) -> Iterator[None]:
    """The garbage collector runs wherever an object is made."""
    before = gc.get_threshold()
    if "cycle" in place:
        gc.set_threshold(1, 1, 1)
    try:
        yield
    finally:
        gc.set_threshold(*before)


ENDING = ("close", "drain", "abort", "close the loop")


def talk(loop: EventLoop, protocol: Place, count: int, slow: bool) -> bytes:
    """What the peer gets on a connection on which it sends ``count`` messages; the kernel of a
    ``slow`` one takes little at a time."""
    received = bytearray()
    ends = protocol.meddler.deed in ENDING
    theirs, ours = socket.socketpair()
    if slow:
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)  # as small as can be
    with theirs:
        theirs.setblocking(False)
        protocol.meddler.connection = connection = loop.attach(ours, protocol)
        theirs.send(b"".join(frame(b"%d " % number) for number in range(count)))
        late = loop.call_later(DEADLINE, lambda: None)
        idle = 0  # turns in which nothing came, though all is answered
        while len(protocol.events) < 2 and idle < 3:
            loop.poll(0)
            came = read(theirs, received)
            settled = len(protocol.answered) == count and not connection.unsent and not ends
            idle = idle + 1 if settled and not came else 0
            assert not late.cancelled or len(protocol.events) == 2, "the deadline passed"
        protocol.meddler.left = 0
        while read(theirs, received):
            pass
    turn_until(loop, lambda: len(protocol.events) == 2)
    return bytes(received)


def read(peer: socket.socket, received: bytearray) -> int:
    try:
        data = peer.recv(50_000)
    except OSError:  # there is nothing, or there will be nothing
        return 0
    received += data
    return len(data)


def plain(stream: bytes) -> bytes:
    """What is in the records of `Records`, which have to be in order."""
    found, number = b"", 0
    while len(stream) >= RECORD.size:
        its_number, size = RECORD.unpack_from(stream)
        assert its_number == number
        found += stream[RECORD.size : RECORD.size + size]
        stream = stream[RECORD.size + size :]
        number += 1
    return found


def messages(stream: bytes) -> list[bytes]:
    """The whole frames in it; what is left has to be the beginning of one."""
    found = []
    while len(stream) >= LENGTH.size:
        stop = LENGTH.size + LENGTH.unpack_from(stream)[0]
        assert stop < 1 << 17
        if stop > len(stream):
            break
        found.append(stream[LENGTH.size : stop])
        stream = stream[stop:]
    return found


@pytest.mark.parametrize("by_signal", [False, True], ids=["directly", "by signal"])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("deed", [*SENDS, *OTHERS])
@pytest.mark.parametrize("place", PLACES)
def test_it_breaks_no_stream(
    loop: EventLoop, place: str, deed: str, size: str, by_signal: bool, log: Log
) -> None:
    count, length = SIZES[size]
    meddler = Meddler(loop, deed, by_signal)
    protocol = Place(meddler, place, length)
    with handling(meddler.act), collecting_often(place):
        stream = talk(loop, protocol, count, slow=size == "long" or place == "limits")
    assert meddler.ran
    got = messages(plain(stream) if "filter" in place else stream)
    replies = [message for message in got if not message.startswith(b"meddled")]
    meddled = [message for message in got if message.startswith(b"meddled")]
    assert replies == protocol.answered[: len(replies)]
    assert meddled == meddler.sent[: len(meddled)]
    if deed not in ENDING:
        assert len(replies) == count
        assert len(meddled) == len(meddler.sent)
    reasons = {"close": "local", "drain": "shutdown", "abort": "local", "close the loop": "local"}
    assert protocol.events == ["connected", reasons.get(deed, "eof")]
    log.take()


SIGNALS = 200


def test_a_signal_handler_sends_while_replies_go_out_over_tls(engine: Engine) -> None:
    """At any moment of it, not only at those that the test above knows."""
    open_connections: list[Connection] = []
    sent: list[bytes] = []

    class Handler:
        def connected(self, connection: Connection) -> None:
            open_connections.append(connection)

        def received(self, message: bytes, connection: Connection) -> bytes:
            return message.ljust(4092, b"r")

        def disconnected(self, connection: Connection, reason: CloseReason) -> None:
            open_connections.clear()
            server.stop()

    def interrupt(*_: object) -> None:
        if open_connections and len(sent) < SIGNALS:
            message = b"meddled %d" % next(numbers)
            sent.append(message)  # first, since the next signal may come in the middle of this
            try:
                open_connections[0].send(message)
            except ConnectionClosed:
                sent.remove(message)

    def ask() -> None:
        with (
            socket.create_connection(address, DEADLINE) as plain,
            client.wrap_socket(plain, server_hostname=host) as peer,
        ):
            while len(sent) < SIGNALS:
                peer.sendall(frame(b"ask") * 30)
                take(peer, got, sum(not message.startswith(b"m") for message in got) + 30)

    def take(peer: ssl.SSLSocket, got: list[bytes], replies: int) -> None:
        """Until so many replies have come."""
        while sum(not message.startswith(b"m") for message in got) < replies:
            buffer.extend(peer.recv(1 << 16))
            whole = messages(bytes(buffer))
            got.extend(whole)
            del buffer[: sum(LENGTH.size + len(message) for message in whole)]

    got: list[bytes] = []
    buffer = bytearray()
    numbers = itertools.count()
    server = engine.server(Handler(), tls=server_context())
    server.start()
    host, port = server.addresses[0].split(":")
    address = host, int(port)
    client = trusting()
    peer = threading.Thread(target=ask)
    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 1e-3, 3e-4)
    try:
        peer.start()
        server.run()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        peer.join(DEADLINE)
    assert all(message == b"ask".ljust(4092, b"r") for message in got if message[0] != b"m"[0])
    meddled = [message for message in got if message[0] == b"m"[0]]
    assert len(meddled) == len({*meddled} & {*sent})
    assert len(sent) == SIGNALS
