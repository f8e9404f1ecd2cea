"""A scene, by chance: a peer that sends a stream, a handler that acts on it, and how it ends.

A scene must come out the same on both engines, however quick the machine is. So peer and loop
take turns in one thread, and a scene in which something is cut short says what that leaves open:

- Replies that were queued when a connection was dropped are lost. How many the kernel had taken
  by then is for the engine to choose: of the bytes that arrived, one is a prefix of the other.
- A peer that takes nothing is dropped at some message, and which one depends on how the engine
  offers its replies: of the messages handled, too, one is a prefix of the other.
- A peer that resets takes with it what it had not read: no bytes are compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from random import Random

from epollo.engine import Limits
from epollo.errors import EncodeError, FrameError
from epollo.framing import Framing, parse
from fuzz.streams import SMALL, Stream, a_message, a_size, a_stream, is_raw

MOST_REPLIED = 4 << 20  # bytes; where there would be more, messages are only sent back


class Kind(StrEnum):
    TALK = "talk"  # the peer sends, reads all, and ends its stream
    HALT = "halt"  # the handler ends the connection at one of the messages
    SLOW = "slow"  # small buffers, small marks, a peer that reads little at a time
    DEAF = "deaf"  # a peer that reads nothing, and a handler that says much
    RESET = "reset"  # the peer resets the connection
    LEAVE = "leave"  # the peer closes both directions
    HELD = "held"  # so it does while the handler has paused
    PROGRAM = "program"  # the program ends the connection, from outside its handler


class Deed(StrEnum):
    """What a handler does with a message."""

    ECHO = "echo"
    REPLY = "reply"
    SEVERAL = "several"
    LAZY = "lazy"  # several, from a generator
    VIEW = "view"  # a reply that is bytes-like
    NOTHING = "nothing"
    SEND = "send"  # and return a reply
    PUSH = "push"  # several sends
    OTHER = "other"  # send to another connection
    PAUSE = "pause"  # and resume in the next turn
    BLINK = "blink"  # pause, and resume at once
    # Those that end the connection:
    CLOSE = "close"
    DRAIN = "drain"
    ABORT = "abort"
    RAISE = "raise"
    CLOSE_AND_RAISE = "close and raise"
    ABORT_AND_RAISE = "abort and raise"
    LAZY_RAISE = "lazy raise"
    NO_REPLY = "no reply"  # return what is none
    SEND_AND_CLOSE = "send and close"
    SEND_AND_ABORT = "send and abort"


_DEEDS = (Deed.ECHO, *tuple(Deed)[: tuple(Deed).index(Deed.CLOSE)])
_ENDS = tuple(Deed)[tuple(Deed).index(Deed.CLOSE) :]
_ABORTS = (Deed.ABORT, Deed.ABORT_AND_RAISE, Deed.SEND_AND_ABORT)


_USUAL = Limits()


class Alike(StrEnum):
    """How alike something must be."""

    SAME = "same"
    PREFIX = "prefix"
    ANY = "any"


@dataclass(frozen=True)
class Scene:
    kind: Kind
    stream: Stream
    deeds: Sequence[Deed]  # for one message after the other, and from the first again
    replies: Sequence[bytes]  # likewise
    last: tuple[int, Deed] | None = None  # what is done with the message of that number
    greeting: bool = False
    paused_at_first: bool = False
    settling: bool = True  # between its chunks, the peer lets the loop do all that it can
    tcp: bool = False
    by_program: str = ""  # the connection's method that the program calls at the end
    limits: Limits = _USUAL
    send_buffer: int = 0  # SO_SNDBUF; 0 for the system's
    appetite: int = 1 << 20  # bytes that the peer reads at a time

    @property
    def bytes_alike(self) -> Alike:
        if self.kind is Kind.RESET:
            return Alike.ANY
        dropped = self.kind is Kind.DEAF or self.by_program == "abort"
        dropped = dropped or (self.last is not None and self.last[1] in _ABORTS)
        return Alike.PREFIX if dropped else Alike.SAME

    @property
    def messages_alike(self) -> Alike:
        return Alike.PREFIX if self.kind is Kind.DEAF else Alike.SAME

    def __str__(self) -> str:
        sizes = [len(reply) for reply in self.replies]
        deeds = ", ".join(self.deeds)
        last = f"; {self.last[1]} at message {self.last[0]}" if self.last else ""
        return (
            f"{self.kind}{' ' + self.by_program if self.by_program else ''}: the handler does"
            f" {deeds}{last}, with replies of {sizes} bytes"
            f"{'; greets' if self.greeting else ''}{'; paused' if self.paused_at_first else ''};"
            f" {self.limits}, SO_SNDBUF {self.send_buffer}, reads {self.appetite},"
            f" {'settling' if self.settling else 'all at once'}\n  stream: {self.stream}"
        )


def a_scene(chance: Random) -> Scene:
    """Any scene."""
    kind = chance.choice((*Kind, Kind.TALK, Kind.TALK, Kind.HALT))
    if kind is Kind.DEAF:
        return _deaf(chance)
    largest = SMALL if kind is Kind.SLOW or chance.random() < 0.7 else 70_000
    stream = a_stream(chance, largest)
    chunks = _fewer(stream.chunks)
    if kind in (Kind.HELD, Kind.RESET, Kind.PROGRAM):
        chunks = _short(chunks)
    stream = replace(stream, chunks=chunks)
    replies = _replies(chance, stream.framing)
    much = 3 * count_messages(stream) * max(map(len, replies)) > MOST_REPLIED
    scene = Scene(
        kind,
        stream,
        deeds=[chance.choice(_DEEDS[:2] if much else _DEEDS) for _ in range(chance.randint(1, 5))],
        replies=replies,
        greeting=chance.random() < 0.2,
        paused_at_first=chance.random() < 0.1,
        settling=chance.random() < 0.7,
    )
    return _of_kind(chance, scene)


def _of_kind(chance: Random, scene: Scene) -> Scene:
    kind = scene.kind
    if kind is Kind.HALT:
        return replace(
            scene, last=(chance.randrange(count_messages(scene.stream)), chance.choice(_ENDS))
        )
    many = count_messages(scene.stream) > 300
    if kind is Kind.SLOW and not many and not is_raw(scene.stream.framing):  # it depends on reads
        return replace(
            scene,
            limits=Limits(high_water=chance.choice((0, 1, 100, 1000, 5000))),
            send_buffer=1,
            appetite=chance.choice((500, 3000, 20_000)),
        )
    if kind is Kind.RESET:
        silent = [Deed.NOTHING, Deed.PAUSE] if not scene.settling else scene.deeds
        return replace(scene, tcp=True, deeds=silent, greeting=scene.greeting and scene.settling)
    if kind is Kind.LEAVE:
        return replace(scene, settling=True)
    if kind is Kind.HELD:
        return replace(scene, deeds=[Deed.NOTHING], paused_at_first=True, greeting=False)
    if kind is Kind.PROGRAM:
        by_program = chance.choice(("close", "drain", "abort"))
        return replace(
            scene, by_program=by_program, settling=scene.settling or by_program != "drain"
        )
    return scene


def _deaf(chance: Random) -> Scene:
    """Many times what the kernel, and then the marks, have room for: it ends in one way only. What
    is returned would wait for the peer instead, for ever; and so would a single large frame."""
    framing = parse(chance.choice(("u32", "varint", "netstring", "line", "u16")))
    data = framing.encode(b"say much") * 9
    step = chance.choice((len(data), 7, 40))
    mark = chance.choice((1000, 20_000))
    return Scene(
        Kind.DEAF,
        Stream(framing, [data[at : at + step] for at in range(0, len(data), step)]),
        deeds=[chance.choice((Deed.PUSH, Deed.SEND))],
        replies=[bytes([65 + number]) * chance.choice((30_000, 60_000)) for number in range(3)],
        limits=Limits(high_water=mark, max_unsent=mark),
        send_buffer=1,
        appetite=0,
    )


def count_messages(stream: Stream) -> int:
    """How many messages are in it; at least 1."""
    decoder, count = stream.framing.decoder(), 0
    try:
        for chunk in stream.chunks:
            count += len(decoder.feed(chunk))
    except FrameError as error:
        count += len(error.messages)
    return max(1, count)


def _fewer(chunks: list[bytes], most: int = 100) -> list[bytes]:
    """At most so many chunks: the last ones as one."""
    return [*chunks[:most], b"".join(chunks[most:])] if len(chunks) > most else chunks


def _short(chunks: list[bytes], most: int = 50_000) -> list[bytes]:
    """So few bytes that the kernel has room for all of them, though the loop reads none."""
    short = []
    for chunk in chunks:
        short.append(chunk[:most])
        most -= len(short[-1])
    return [chunk for chunk in short if chunk]


def _replies(chance: Random, framing: Framing) -> list[bytes]:
    """Messages that can be sent, as a rule; the empty list would be no rule."""
    replies = []
    for _ in range(chance.randint(1, 4)):
        size = a_size(chance, 70_000)
        if chance.random() < 0.1:
            size = max(0, min(70_000, framing.max_frame) - chance.randint(0, 12))
        size = getattr(framing, "size", size) if framing.name.startswith("fixed") else size
        replies.append(_sendable(framing, a_message(chance, size), chance.random() < 0.03))
    return replies


def _sendable(framing: Framing, message: bytes, hostile: bool) -> bytes:
    for candidate in (message, message[: framing.max_frame // 2], bytes(130), b"reply", b"r", b""):
        try:
            framing.encode(candidate)
        except EncodeError:
            if hostile:
                return candidate
        else:
            return candidate
    return message
