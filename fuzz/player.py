"""Sequences of events on one loop, one after the other, over real sockets; and what came of each.

The peer and the loop take turns in one thread. Over a socket pair nothing is ever on its way, so
whatever has not happened when the loop finds nothing to do will not happen. Over TCP the player
waits until what the peer sent has arrived.
"""

from __future__ import annotations

import select
import socket
import ssl
import time
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Self, cast

from epollo.engine import CloseReason, Connection, new_loop
from epollo.errors import ConnectionClosed
from epollo.server.application_protocol import ApplicationProtocol
from epollo.server.handlers.application import application
from epollo.settings import settings_from
from epollo.tls import client_context
from fuzz.difference import Difference, short
from fuzz.events import MAX_FRAME, Event, HalfClose, PeerStream, Setting, Steps, framing_of
from fuzz.log import logged
from fuzz.sockets import reset, tcp_pair, unread

DEADLINE = 20.0  # seconds; for what takes microseconds
MOST_TURNS = 300  # with something ready in each, and nothing left for the peer to take
HIGH_WATER = 4 << 10
MAX_UNSENT = 1 << 20
BUFFER = 8 << 10  # SO_SNDBUF of the connection, SO_RCVBUF of its peer
KERNEL_ROOM = 64 << 10  # more than the kernel takes over TCP while nobody reads
PUSHED = b"pushed by the program ".ljust(2000, b".")
AS_TOLD = "as it was told to"
END = "end of stream"
CUT = "end of stream without close_notify"


def reply_to(message: bytes) -> bytes:
    return b"reply to " + message


@dataclass
class Record:
    """What came of a sequence."""

    events: list[str] = field(default_factory=list)  # connected, and the reasons of disconnected
    messages: list[bytes] = field(default_factory=list)  # that were delivered
    progress: dict[int, int] = field(default_factory=dict)  # how many, by the number of the step
    late: deque[bytes] = field(
        default_factory=deque
    )  # of them, whose replies come when it is resumed
    deferred: deque[bytes] = field(default_factory=deque)  # of them, those in flight
    refused: list[bytes] = field(default_factory=list)  # messages whose late replies were refused
    said: list[bytes] = field(default_factory=list)  # replies, and what the program sent
    received: bytes = b""  # by the peer
    farewell: str = ""  # how the stream ended for the peer; empty where the peer reset it
    ended_after: int | None = None  # the number of the step after which the peer saw that
    error: str = ""
    restless: bool = False  # the loop turned though there was nothing left to do
    other: str = ""  # what is wrong with the rest of the loop
    logged: list[str] = field(default_factory=list)

    def reply(self, message: bytes, connection: Any) -> bytes | None:
        self.messages.append(message)
        match message.split(b" ", 2)[1].decode():
            case Event.RAISE:
                raise ZeroDivisionError(AS_TOLD)
            case Event.ABORTED_BY_HANDLER:
                connection.abort()
                return reply_to(message)
            case Event.LATE:
                connection.pause_reading()
                self.late.append(message)
                return None
            case Event.DEFERRED:
                connection.defer()
                self.deferred.append(message)
                return None
            case Event.PAUSED_BY_HANDLER:
                connection.pause_reading()
            case Event.CLOSED_BY_HANDLER:
                connection.close()
            case Event.STOPPED_BY_HANDLER:
                connection.drain()
        self.said.append(reply_to(message))
        return reply_to(message)

    def send_late(self, connection: Connection) -> None:
        """Send the replies that wait for the connection to be resumed."""
        while self.late:
            message = self.late.popleft()
            try:
                connection.send(reply_to(message))
            except ConnectionClosed:
                self.refused.append(message)
            else:
                self.said.append(reply_to(message))

    def answer(self, connection: Any) -> None:
        if self.deferred:
            reply = reply_to(self.deferred.popleft())
            self.said.append(reply)
            connection.answer(reply)

    def fail(self, connection: Any) -> None:
        if self.deferred:
            self.deferred.popleft()
            connection.fail(ZeroDivisionError(AS_TOLD))


class Handler:
    """The application: writes down what it is called with, in the record that is the connection's
    state."""

    def __init__(self) -> None:
        self.newcomer = Record()  # of the next connection

    def connected(self, connection: Connection) -> None:
        connection.state = self.newcomer
        self.newcomer.events.append("connected")

    def received(self, message: bytes, connection: Any) -> bytes | None:
        return cast(Record, connection.state).reply(message, connection)

    def disconnected(self, connection: Connection, reason: CloseReason) -> None:
        record = cast(Record, connection.state)
        record.events.append(str(reason))
        if reason is not CloseReason.RESET:  # which call meets it first, and so its errno, may vary
            record.error = repr(connection.error)


@cache
def tls_contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server's, with an EC key, which is quick; and a client's, that trusts whoever answers."""
    import trustme

    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("localhost").configure_cert(server)
    server.num_tickets = 0
    return server, client_context("any")


class Peer:
    """The other side of a connection: plain, or TLS without I/O of its own."""

    def __init__(self, sock: socket.socket, setting: Setting) -> None:
        self.socket = sock
        self.received = bytearray()
        self.farewell = ""
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls: ssl.SSLObject | None = None
        self._notified = False  # of the end, by close_notify
        sock.setblocking(False)
        self._half_close = setting.half_close
        self._held = b""  # of a record that is sent in part
        if setting.tls:
            _, context = tls_contexts()
            self._tls = context.wrap_bio(self._incoming, self._outgoing)

    def shakes_hands(self) -> bool:
        """Take the handshake a step further; true while it is not done."""
        if self._tls is None:
            return False
        try:
            self._incoming.write(self.socket.recv(1 << 16))
        except BlockingIOError:
            pass
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            self._flush()
            return True
        self._flush()
        return False

    def send(self, data: bytes) -> int:
        """Send ``data``; returns how many bytes that is on the wire. Raises OSError."""
        if self._tls is None:
            return self._send(data)
        self._tls.write(data)
        return self._flush()

    def send_part(self, data: bytes) -> int:
        """The same; but if the setting says so, the TLS record is sent in part, and the rest of it
        with what is sent next."""
        if self._tls is None or self._half_close is not HalfClose.CUT:
            return self.send(data)
        self._tls.write(data)
        record = self._held + self._outgoing.read()
        self._held = record[-5:]
        return self._send(record[:-5])

    def half_close(self) -> int:
        """Send the end of the stream; returns how many bytes that is. Raises OSError."""
        size = 0
        if self._tls is not None and self._half_close in (HalfClose.BOTH, HalfClose.NOTIFY):
            try:
                self._tls.unwrap()
            except ssl.SSLWantReadError:  # the other side's close_notify is not waited for
                pass
            size = self._flush()
        if not self.leaves_open:
            self.socket.shutdown(socket.SHUT_WR)
        return size

    def read(self) -> bool:
        """Read all that there is; false where nothing was."""
        if self.farewell or self.socket.fileno() < 0:
            return False
        data = bytearray()
        while not self.farewell:
            try:
                part = self.socket.recv(1 << 18)
            except BlockingIOError:
                break
            except OSError as error:
                self.farewell = type(error).__name__
                break
            if not part:
                self.farewell = END
            data += part
        if self._tls is None:
            self.received += data
        elif data:
            self._decrypt(data)
        if self.farewell == END and self._tls is not None and not self._notified:
            self.farewell = CUT
        return bool(data or self.farewell)

    @property
    def leaves_open(self) -> bool:
        """Is the end of its stream no end to the kernel?"""
        return self._tls is not None and self._half_close is HalfClose.NOTIFY

    def close(self) -> None:
        self.socket.close()

    def _decrypt(self, data: bytearray) -> None:
        assert self._tls is not None
        self._incoming.write(data)
        try:
            while not self._notified:
                part = self._tls.read(1 << 16)
                self.received += part
                self._notified = not part
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:  # close_notify, after this side's own
            self._notified = True

    def _flush(self) -> int:
        data, self._held = self._held + self._outgoing.read(), b""
        return self._send(data) if data else 0

    def _send(self, data: bytes) -> int:
        if self.socket.send(data) != len(data):
            raise Difference("the kernel has no room for what the peer sends")
        return len(data)


class Player:
    """A loop of one engine, on which sequences are played, next to a connection that stays."""

    def __init__(self, engine: str, setting: Setting) -> None:
        self.setting = setting
        self.loop = new_loop(engine)
        self.encode = framing_of(setting).encode
        self._handler = Handler()
        self._protocol = ApplicationProtocol(
            settings_from(
                framing=framing_of(setting),
                max_frame=MAX_FRAME,
                high_water=HIGH_WATER,
                max_unsent=MAX_UNSENT,
                in_flight=setting.in_flight,
                tls=tls_contexts()[0] if setting.tls else None,
                tls_timeout=10 * DEADLINE,
            ),
            application(self._handler),
        )
        with ExitStack() as stack:
            self._lines = stack.enter_context(logged("epollo.engine", "epollo.server"))
            stack.callback(self.loop.close)
            self._listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            self._other_peer, _ = self.connect(Record(), tcp=False)
            stack.callback(self._other_peer.close)
            self._stack = stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def play(self, steps: Steps, ends_after: int | None) -> Record:
        """What comes of ``steps``. If the peer has not seen the end of its stream after the step of
        number ``ends_after``, it waits for that there, as on TCP it may be on its way."""
        record = Record()
        self._lines.clear()
        play = Play(self, record)
        try:
            play.run(steps, ends_after)
        except Exception as error:
            error.add_note(f"having seen {short(record)}")
            raise
        finally:
            play.peer.close()
        record.received = bytes(play.peer.received)
        record.other = self._ask_other()
        record.logged = list(self._lines)
        return record

    def connect(self, record: Record, tcp: bool | None = None) -> tuple[Peer, Connection]:
        """A peer, and its connection, of which ``record`` keeps what it comes to."""
        over_tcp = self.setting.tcp if tcp is None else tcp
        theirs, ours = tcp_pair(self._listener, BUFFER) if over_tcp else socket.socketpair()
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
        self._handler.newcomer = record
        connection = self.loop.attach(ours, self._protocol)
        peer = Peer(theirs, self.setting)
        late = time.monotonic() + DEADLINE
        while peer.shakes_hands() or not record.events:
            self.loop.poll(0)
            if time.monotonic() > late:
                raise Difference("a connection is not established")
        return peer, connection

    def _ask_other(self) -> str:
        """What is wrong if the other connection is not served, or not the only one any more."""
        message = b"0 frame of another connection"
        peer = self._other_peer
        peer.received.clear()
        try:
            peer.send(self.encode(message))
        except OSError as error:
            return f"the other connection is closed: {error!r}"
        for _ in range(MOST_TURNS):
            self.loop.poll(0)
            peer.read()
            if peer.received == self.encode(reply_to(message)):
                break
        else:
            return "the other connection is not served any more"
        if self._protocol.connected_count != 1 or len(list(self.loop.connections())) != 1:
            return "the connection is still counted among the connected"
        return ""


class Play:
    """One sequence on a connection of its own."""

    def __init__(self, player: Player, record: Record) -> None:
        self.peer, self._connection = player.connect(record)
        self._record = record
        self._loop = player.loop
        self._encode = player.encode
        self._tcp = player.setting.tcp
        self._by_loop = player.setting.by_loop
        self._stream = PeerStream(player.setting)
        self._reads = True  # the peer does
        self._late = time.monotonic() + DEADLINE

    def run(self, steps: Steps, ends_after: int | None) -> None:
        record = self._record
        for number, (event, settle) in enumerate(steps):
            self._do(event)
            if settle or event in (Event.FULL, Event.FREE):
                self._settle()
                if number == ends_after:
                    self._turn_until(lambda: self.peer.farewell)
                record.progress[number] = len(record.messages)
                if self.peer.farewell and record.ended_after is None:
                    record.ended_after = number
        self._turn_until(lambda: self.peer.farewell or self._is_gone)
        record.farewell = self.peer.farewell
        self.peer.close()
        self._turn_until(lambda: self._connection.closed and len(record.events) > 1)
        self._settle()  # what is called once must not be called again

    def _do(self, event: Event) -> None:
        connection = self._connection
        data, _ = self._stream.next(event)
        match event:
            case Event.HALF_CLOSE:
                self._half_close()
            case Event.RESET:
                self._reset()
            case Event.PAUSE:
                self._call(connection.pause_reading)
            case Event.RESUME:
                self._call(lambda: self._record.send_late(connection))
                self._call(connection.resume_reading)
            case Event.CLOSE:
                self._call(connection.close)
            case Event.ABORT:
                self._call(connection.abort)
            case Event.STOP:
                self._loop.call_threadsafe(connection.drain)
            case Event.ANSWER:
                self._call(lambda: self._record.answer(connection))
            case Event.FAIL:
                self._call(lambda: self._record.fail(connection))
            case Event.FULL:
                self._settle()
                self._fill()
            case Event.FREE:
                self._reads = True
            case Event.PART:
                self._send(lambda: self.peer.send_part(data))
            case _ if data:
                self._send(lambda: self.peer.send(data))

    def _call(self, call: Callable[[], object]) -> None:
        """The program's call, between two turns of the loop or in one."""
        if self._by_loop:
            self._loop.call_threadsafe(call)
        else:
            call()

    def _send(self, send: Callable[[], int]) -> bool:
        """Send something that is so many bytes on the wire; false if nobody takes it any more."""
        if self._is_gone:
            return False
        before = self._unread()
        try:
            size = send()
        except OSError:  # the connection is closed
            return False
        self._wait_until(lambda: self._unread() >= before + size)
        return True

    def _half_close(self) -> None:
        if self._send(self.peer.half_close) and not self.peer.leaves_open:
            self._wait_for(select.POLLRDHUP)

    def _reset(self) -> None:
        if not self._is_gone:
            reset(self.peer.socket)
            self._wait_for(select.POLLHUP)

    def _fill(self) -> None:
        """Send until the kernel takes no more and more than the high-water mark is left."""
        mark = HIGH_WATER + (KERNEL_ROOM if self._tcp else 0)
        while self._connection.unsent <= mark:
            try:
                self._connection.send(PUSHED)
            except ConnectionClosed:
                return
            self._reads = False
            self._record.said.append(PUSHED)
            if self._connection.unsent > mark:
                self._settle()

    @property
    def _is_gone(self) -> bool:
        """The peer has reset the connection."""
        return self.peer.socket.fileno() < 0

    def _settle(self) -> None:
        """Turn until there is nothing left to do for the loop, nor for a peer that reads."""
        if self._tcp:
            self._turn_until(lambda: not self._owes)
        idle = turns = 0
        while idle < 2:
            if self._turn():
                idle = 0
                turns += not self._connection.unsent
            else:
                idle += 1
            if turns > MOST_TURNS:
                self._record.restless = True
                return

    @property
    def _owes(self) -> bool:
        """Is something on its way to a peer that reads?"""
        if not self._reads or self._connection.closed or self.peer.farewell or self._is_gone:
            return False
        return len(self.peer.received) < sum(len(self._encode(each)) for each in self._record.said)

    def _turn(self) -> bool:
        """One of the loop, and one of a peer that reads; was there anything to do?"""
        self._mind_time()
        ready = self._loop.poll(0)
        read = self._reads and self.peer.read()
        return bool(ready or read)

    def _turn_until(self, condition: Callable[[], object]) -> None:
        """Turn until ``condition`` holds, or it cannot come any more; over TCP, or time is up."""
        idle = 0
        while not condition() and (idle < 2 or self._tcp):
            idle = 0 if self._turn() else idle + 1

    def _unread(self) -> int:
        return 0 if self._connection.closed else unread(self._fd)

    def _wait_until(self, condition: Callable[[], object]) -> None:
        """Without turns, until what the peer sent has arrived."""
        while not self._connection.closed and not condition():
            self._mind_time()

    def _wait_for(self, event: int) -> None:
        poll = select.poll()
        if not self._connection.closed:
            poll.register(self._fd, event)
            self._wait_until(lambda: poll.poll(0))

    @property
    def _fd(self) -> int:
        fd: int = cast(Any, self._connection).fd
        return fd

    def _mind_time(self) -> None:
        if time.monotonic() > self._late:
            raise Difference(f"no end after {DEADLINE:g} s")
