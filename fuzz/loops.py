"""One scene on the loops of both engines, over real sockets: the same messages, bytes and end."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Any, cast

from epollo.engine import CloseReason, Connection, EventLoop, new_loop
from fuzz.difference import Difference, short
from fuzz.log import logged
from fuzz.scenes import Alike, Deed, Kind, Scene, a_scene
from fuzz.sockets import reset, tcp_pair, unread

FAULTS = (CloseReason.BAD_FRAME, CloseReason.FRAME_TOO_LARGE)
DEADLINE = 60.0  # seconds; most scenes take milliseconds, the longest ten seconds with sanitizers


@dataclass
class Record:
    """What a scene came to."""

    messages: list[bytes] = field(default_factory=list)
    events: list[str] = field(default_factory=list)
    error: str = ""
    received: bytearray = field(default_factory=bytearray)  # by the peer
    farewell: str = ""  # how the stream ended for it
    others: bytearray = field(default_factory=bytearray)  # what the other connection's peer got
    logged: list[str] = field(default_factory=list)


class Script:
    """The protocol: does what the scene says, message by message, and writes down what it saw."""

    def __init__(self, scene: Scene, record: Record, loop: EventLoop) -> None:
        self.framing = scene.stream.framing
        self.limits = scene.limits
        self.other: Connection | None = None
        self.held = scene.kind is Kind.HELD
        self.timers = 0  # under way
        self._scene = scene
        self._record = record
        self._loop = loop
        self._replied = 0

    def connected(self, connection: Connection) -> None:
        self._record.events.append("connected")
        if self._scene.paused_at_first:
            self._pause(connection)
        if self._scene.greeting:
            connection.send(self._reply())

    def closed(self, connection: Connection, reason: CloseReason) -> None:
        self._record.events.append(str(reason))
        if reason is not CloseReason.RESET:  # which call meets it first, and so its errno, may vary
            self._record.error = repr(connection.error)

    def received(self, message: bytes, connection: Connection) -> Any:
        number = len(self._record.messages)
        self._record.messages.append(message)
        deeds, last = self._scene.deeds, self._scene.last
        deed = last[1] if last and last[0] == number else deeds[number % len(deeds)]
        return self._do(deed, message, connection)

    def _do(self, deed: Deed, message: bytes, connection: Connection) -> Any:
        match deed:
            case Deed.ECHO:
                return message
            case Deed.REPLY:
                return self._reply()
            case Deed.SEVERAL:
                return [self._reply(), bytearray(self._reply()), self._reply()]
            case Deed.LAZY:
                return (self._reply() for _ in range(3))
            case Deed.VIEW:
                return memoryview(self._reply())
            case Deed.SEND:
                connection.send(self._reply())
                return self._reply()
            case Deed.PUSH:
                for kind in (bytes, bytearray, bytes):
                    connection.send(kind(self._reply()))
            case Deed.OTHER:
                assert self.other is not None
                self.other.send(self._reply())
            case Deed.PAUSE:
                self._pause(connection)
                return None if self._scene.kind is Kind.RESET else self._reply()
            case Deed.BLINK:
                connection.pause_reading()
                connection.resume_reading()
                return None if self._scene.kind is Kind.RESET else self._reply()
            case Deed.NOTHING:
                pass
            case _:
                return self._end(deed, connection)
        return None

    def _end(self, deed: Deed, connection: Connection) -> Any:
        match deed:
            case Deed.LAZY_RAISE:
                return self._lazy_raise()
            case Deed.NO_REPLY:
                return [self._reply(), 42]
            case Deed.DRAIN:
                connection.drain()
            case Deed.SEND_AND_CLOSE | Deed.SEND_AND_ABORT:
                connection.send(self._reply())
        if deed in (Deed.CLOSE, Deed.CLOSE_AND_RAISE, Deed.SEND_AND_CLOSE):
            connection.close()
        if deed in (Deed.ABORT, Deed.ABORT_AND_RAISE, Deed.SEND_AND_ABORT):
            connection.abort()
        if deed in (Deed.RAISE, Deed.CLOSE_AND_RAISE, Deed.ABORT_AND_RAISE):
            raise ZeroDivisionError(deed)
        return self._reply()

    def _lazy_raise(self) -> Iterator[bytes]:
        yield self._reply()
        raise ZeroDivisionError

    def _reply(self) -> bytes:
        self._replied += 1
        return self._scene.replies[self._replied % len(self._scene.replies)]

    def _pause(self, connection: Connection) -> None:
        connection.pause_reading()
        if not self.held:
            self.timers += 1
            self._loop.call_later(0, lambda: self._resume(connection))

    def _resume(self, connection: Connection) -> None:
        self.timers -= 1
        connection.resume_reading()


class Listener:
    """The protocol of the other connection, which is only sent to."""

    def __init__(self, scene: Scene) -> None:
        self.framing = scene.stream.framing
        self.limits = scene.limits
        self.events: list[str] = []

    def connected(self, connection: Connection) -> None:
        self.events.append("connected")

    def closed(self, connection: Connection, reason: CloseReason) -> None:
        self.events.append(str(reason))

    def received(self, message: bytes, connection: Connection) -> None:
        raise AssertionError("its peer sends nothing")


class Play:
    """A scene on one engine: the peer and the loop take turns, in one thread."""

    def __init__(self, scene: Scene, engine: str, begin: Callable[[int], object]) -> None:
        self.scene = scene
        self.record = Record()
        self.loop = new_loop(engine)
        self.script = Script(scene, self.record, self.loop)
        self.listener = Listener(scene)
        self.peer, ours = tcp_pair() if scene.tcp else socket.socketpair()
        self.other_peer, others = socket.socketpair()
        if scene.send_buffer:
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, scene.send_buffer)
        for sock in (self.peer, self.other_peer):
            sock.setblocking(False)
        self._late = time.monotonic() + DEADLINE
        self.script.other = self.loop.attach(others, self.listener)
        self.connection = self.loop.attach(ours, self.script)
        begin(self._fd)

    def run(self) -> Record:
        try:
            self._say_all()
            self._end()
            while not (self.connection.closed and len(self.record.events) > 1):
                self._turn(0.001)
            while not self.record.farewell and self.peer.fileno() >= 0:
                self._read(1 << 20)
            self._end_other()
        finally:
            self.peer.close()
            self.other_peer.close()
            self.loop.close()
            self.script.other = None  # or the connections, and they it, would keep each other
        return self.record

    def _say_all(self) -> None:
        for number, chunk in enumerate(self.scene.stream.chunks):
            left_to_drain = self.scene.by_program == "drain" and not self.scene.settling
            last = number == len(self.scene.stream.chunks) - 1
            if not self._say(chunk):
                break
            if self.scene.settling and not (left_to_drain and last):
                self._settle()

    def _say(self, chunk: bytes) -> bool:
        """Send it all; false where nobody takes it any more."""
        rest = memoryview(chunk)
        while rest:
            unread = self._unread()
            try:
                sent = self.peer.send(rest)
            except BlockingIOError:
                self._turn()
            except OSError:
                return False
            else:
                rest = rest[sent:]
                while self._unread() < unread + sent and not self.connection.closed:
                    self._mind_time()  # over TCP, it may take a moment
        return True

    def _unread(self) -> int:
        """Bytes of the peer's that the kernel has for the loop."""
        if self.connection.closed:
            return 0
        return unread(self._fd)

    @property
    def _fd(self) -> int:
        fd: int = cast(Any, self.connection).fd
        return fd

    def _end(self) -> None:
        scene = self.scene
        if scene.by_program:
            getattr(self.connection, scene.by_program)()
            self._settle()
        if scene.kind is Kind.RESET:
            if scene.settling:
                self._settle()
            reset(self.peer)
        elif scene.kind in (Kind.LEAVE, Kind.HELD):
            self._settle()
            self.peer.close()
        elif scene.kind is not Kind.DEAF:
            try:
                self.peer.shutdown(socket.SHUT_WR)
            except OSError:  # ENOTCONN: it was closed by the other side
                pass
        if scene.kind is Kind.HELD:
            self.loop.poll(0)
            self.script.held = False
            self.connection.resume_reading()

    def _end_other(self) -> None:
        while self.script.other is not None and self.script.other.unsent:
            self._turn()
        self.other_peer.shutdown(socket.SHUT_WR)
        while len(self.listener.events) < 2:
            self._turn()
        self._read_other()

    def _settle(self) -> None:
        """Turns until there is nothing left to do for the loop, nor for a peer that reads."""
        idle = 0
        while idle < 2:
            busy = self._turn() or self.script.timers
            busy = busy or (self.scene.appetite and self.connection.unsent)
            idle = 0 if busy else idle + 1

    def _turn(self, wait: float = 0) -> bool:
        """One of the loop, and one of each peer; was there anything to do?"""
        self._mind_time()
        ready = self.loop.poll(wait)
        read = self._read(self.scene.appetite)
        return bool(ready + read + self._read_other())

    def _read(self, most: int) -> int:
        if self.record.farewell or not most or self.peer.fileno() < 0:
            return 0
        try:
            data = self.peer.recv(most)
        except BlockingIOError:
            return 0
        except OSError as error:
            self.record.farewell = type(error).__name__
            return 1
        self.record.received += data
        if not data:
            self.record.farewell = "end of stream"
        return 1

    def _read_other(self) -> int:
        try:
            data = self.other_peer.recv(1 << 20)
        except BlockingIOError:
            return 0
        self.record.others += data
        return len(data)

    def _mind_time(self) -> None:
        if time.monotonic() > self._late:
            raise Difference(f"no end after {DEADLINE:g} s, having seen {short(self.record)}")


def play(scene: Scene, engine: str, begin: Callable[[int], object] = lambda _: None) -> Record:
    """What comes of ``scene`` on the named engine; ``begin`` is told the connection's number."""
    with logged("epollo.engine") as lines:
        record = Play(scene, engine, begin).run()
    record.logged = lines
    return record


def agree(chance: Random) -> tuple[Scene, str]:
    """A scene that comes to the same on both engines, and the reason it ended for."""
    scene = a_scene(chance)
    records = {}
    for engine in ("python", "native"):
        try:
            records[engine] = play(scene, engine)
        except Exception as error:
            raise Difference(f"on the {engine} engine: {error!r}\n  scene: {scene}") from error
    differing = [*_differing(scene, records["python"], records["native"])]
    if differing:
        lines = [
            f"  {engine}: {name} {short(getattr(record, name))}"
            for name in differing
            for engine, record in records.items()
        ]
        raise Difference("\n".join(["the loops differ", f"  scene: {scene}", *lines]))
    return scene, records["python"].events[-1]


def _differing(scene: Scene, one: Record, two: Record) -> Iterator[str]:
    met = overtaken(scene, one, two)
    strange = len(one.events) != 2 or one.events[0] != "connected"
    if strange or (one.events != two.events and not met):
        yield "events"
    if not alike(scene.messages_alike, one.messages, two.messages):
        yield "messages"
    if not alike(scene.bytes_alike, one.received, two.received):
        yield "received"
    same = (scene.messages_alike, scene.bytes_alike) == (Alike.SAME, Alike.SAME)
    names = ["error", "others", "logged"] if scene.messages_alike is Alike.SAME else ["error"]
    names = ["others"] if met else names
    for name in [*names, "farewell"] if same else names:
        if getattr(one, name) != getattr(two, name):
            yield name


def alike(how: Alike, one: list[bytes] | bytearray, two: list[bytes] | bytearray) -> bool:
    """Is it as alike as ``how`` asks?"""
    if how is Alike.PREFIX:
        size = min(len(one), len(two))
        return one[:size] == two[:size]
    return how is Alike.ANY or one == two


def drains(scene: Scene) -> bool:
    """Is the connection drained while its peer may still send?"""
    by_handler = scene.last is not None and scene.last[1] is Deed.DRAIN
    return by_handler or scene.by_program == "drain"


def overtaken(scene: Scene, one: Record, two: Record) -> bool:
    """Does a drain end the stream of one, and that of the other what came before? Whether the
    peer's end is met by then, or a fault of the stream, depends on how much a read brings."""
    if one.events[:-1] != two.events[:-1] or not drains(scene):
        return False
    before = (CloseReason.EOF, CloseReason.TRUNCATED, *FAULTS)
    ends = {one.events[-1], two.events[-1]}
    return CloseReason.SHUTDOWN in ends and any(end in ends for end in before)
