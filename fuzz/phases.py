"""Streams whose framing changes at some of their messages, through both engines, which must agree.

    python -m fuzz.phases --streams 10000 --seed 1

A message that begins with b"to " names the framing from there on. A stream is whole, or some of its
bytes are changed; it comes in random pieces, each read before the next is sent; and the handler
pauses at some messages. Of a whole stream all messages and replies are known.
"""

from __future__ import annotations

import argparse
import socket
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from random import Random
from typing import Any

from epollo.bench.load.length_inside import is_length_inside, with_length
from epollo.engine import EventLoop, Limits, new_loop
from epollo.errors import EncodeError, FrameError
from epollo.framing import Framing, Sized, parse
from epollo.framing.protocols import PROTOCOLS
from fuzz.difference import Difference
from fuzz.sized import USERS, frame_of

MAX_FRAME = 200
SPECS = (
    *("u8", "u16", "u16le", "u32", "varint", "netstring", "line", "delimiter:\\0", "raw"),
    *("digits(size=4)", "bcd(size=2)", "ber", "headers"),
    "length(offset=0,size=2,adjust=-2,strip=2)",
    *PROTOCOLS,
    *USERS,
)
TURNS = 6  # without an event, after which nothing more will come


@dataclass(frozen=True)
class Scene:
    """What the peer sends, in pieces; at which messages the handler pauses."""

    pieces: list[bytes]
    pauses: frozenset[int]
    expected: tuple[list[bytes], bytes] | None  # messages and replies, if the stream is whole


@dataclass(frozen=True)
class Outcome:
    messages: list[bytes]
    replies: bytes
    end: str


class Phases:
    """Sends each message back, in the framing that holds behind it."""

    framing = parse("u32", MAX_FRAME)

    def __init__(self, loop: EventLoop, pauses: frozenset[int]) -> None:
        self.limits = Limits()
        self.messages: list[bytes] = []
        self.end = ""
        self._loop = loop
        self._pauses = pauses

    def received(self, message: bytes, connection: Any) -> bytes | None:
        if len(self.messages) in self._pauses:
            connection.pause_reading()
            self._loop.call_later(0, connection.resume_reading)
        self.messages.append(message)
        if (spec := named(message)) is not None:
            connection.framing = spec
        try:
            connection.framing.encode(message)
        except ValueError:
            return None
        return message

    def connected(self, connection: Any) -> None:
        pass

    def closed(self, connection: Any, reason: Any) -> None:
        self.end = f"{reason}: {connection.error}"


def named(message: bytes) -> str | None:
    """The framing that ``message`` names."""
    spec = message[3:].decode("latin-1")
    return spec if message[:3] == b"to " and spec in SPECS else None


def a_scene(random: Random) -> Scene:
    stream, messages, replies = b"", [], b""
    now = Phases.framing
    for _ in range(random.randint(1, 12)):
        switch = random.random() < 0.4
        message = f"to {random.choice(SPECS)}".encode() if switch else _a_message(random, now)
        if now.name == "raw":  # one read is one message: it has to be the last
            break
        try:
            frame = now.encode(message)
        except ValueError:
            continue
        if _decoded(now, frame) != [message]:  # its length was written into it
            continue
        stream += frame
        messages.append(message)
        if (spec := named(message)) is not None:
            now = parse(spec, MAX_FRAME)
        try:
            replies += now.encode(message)
        except ValueError:
            pass
    whole = random.random() < 0.6
    if not whole:
        stream = _changed(random, stream)
    pauses = frozenset(random.sample(range(12), random.randint(0, 3)))
    return Scene(list(_pieces(random, stream)), pauses, (messages, replies) if whole else None)


def _a_message(random: Random, framing: Framing) -> bytes:
    """A message of ``framing``: what it brings when it was sent."""
    message = bytes(random.choices(b"ab\r \n\0", k=random.randint(0, 40)))
    if isinstance(framing, Sized):
        message = next(iter(_decoded(framing, frame_of(random, framing, message[:9]))), b"")
    elif is_length_inside(framing):
        with suppress(EncodeError):
            message = with_length(framing, message)
    return message


def _decoded(framing: Framing, frame: bytes) -> list[bytes]:
    try:
        return framing.decoder().feed(frame)
    except FrameError as error:
        return error.messages


def _changed(random: Random, stream: bytes) -> bytes:
    data = bytearray(stream)
    for _ in range(random.randint(1, 3)):
        at = random.randrange(len(data) + 1)
        data[at : at + random.randint(0, 2)] = random.randbytes(random.randint(0, 3))
    return bytes(data)


def _pieces(random: Random, stream: bytes) -> Iterator[bytes]:
    at = 0
    while at < len(stream):
        size = random.choice((1, 3, 10, 1000))
        yield stream[at : at + size]
        at += size


def play(engine: str, scene: Scene) -> Outcome:
    """What comes of it on ``engine``."""
    loop = new_loop(engine)
    protocol = Phases(loop, scene.pauses)
    theirs, ours = socket.socketpair()
    try:
        theirs.setblocking(False)
        loop.attach(ours, protocol)
        replies = b""
        for piece in (*scene.pieces, b""):
            try:
                theirs.sendall(piece) if piece else theirs.shutdown(socket.SHUT_WR)
            except OSError:  # it is closed
                pass
            _settle(loop)
            replies += _received(theirs)
        return Outcome(protocol.messages, replies, protocol.end)
    finally:
        theirs.close()
        loop.close()


def _settle(loop: EventLoop) -> None:
    idle = 0
    while idle < TURNS:
        idle = 0 if loop.poll(0) else idle + 1


def _received(peer: socket.socket) -> bytes:
    data = b""
    try:
        while part := peer.recv(1 << 16):
            data += part
    except OSError:
        pass
    return data


def check(seed: int) -> str:
    """Play the scene of that seed; returns how it ended. Raises Difference, with the seed."""
    return agree(Random(seed), f"seed {seed}: ")


def agree(random: Random, start: str = "") -> str:
    """The same of a scene by these choices."""
    scene = a_scene(random)
    native, python = play("native", scene), play("python", scene)
    if native != python:
        raise Difference(f"{start}{scene}\nnative: {native}\npython: {python}")
    if scene.expected is not None and (native.messages, native.replies) != scene.expected:
        raise Difference(f"{start}{scene}\n{native}")
    if scene.expected is not None and native.end != "eof: None":
        raise Difference(f"{start}{scene}\nended: {native.end}")
    return native.end.partition(":")[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streams", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    for seed in range(arguments.seed, arguments.seed + arguments.streams):
        try:
            check(seed)
        except Difference as difference:
            sys.exit(str(difference))
    sys.stdout.write(f"{arguments.streams} streams: both engines agree\n")


if __name__ == "__main__":
    main()
