"""What can happen to a connection, one event after the other, and what its peer sends for them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from itertools import product
from random import Random
from typing import NamedTuple, TypeAlias

from epollo.framing import Framing, parse
from fuzz.streams import Own

MAX_FRAME = 64 << 10
MOST_SENT = 40_000  # bytes of the peer's that the kernel has room for while nobody reads them


class Event(StrEnum):
    # The peer sends. Each of these but PART first completes the frame that a PART began.
    PART = "part"  # of a frame; more of it, if one is begun, but never its end
    FRAME = "frame"  # a whole frame
    BAD = "bad"  # bytes that are no frame
    RAISE = "raise"  # a message whose handler raises, and one more right behind it
    HALF_CLOSE = "half-close"
    RESET = "reset"
    # The program calls the connection's methods.
    PAUSE = "pause"
    RESUME = "resume"
    CLOSE = "close"
    ABORT = "abort"
    STOP = "stop"  # as a server stops: drain(), called by the loop
    FULL = "full"  # the peer reads no more, and the program sends until over high_water
    FREE = "free"  # the peer reads all, and goes on reading
    # A message's handler calls them. One more message is right behind it.
    PAUSED_BY_HANDLER = "handler-pause"
    CLOSED_BY_HANDLER = "handler-close"
    ABORTED_BY_HANDLER = "handler-abort"
    STOPPED_BY_HANDLER = "handler-stop"
    # Its reply comes later.
    LATE = "late"  # the handler pauses; the program replies when it resumes. None is behind it
    DEFERRED = "defer"  # the handler calls defer(); one more message is right behind it
    ANSWER = "answer"  # the program calls answer()
    FAIL = "fail"  # or fail()


ALL = tuple(Event)
USUAL = ALL[: ALL.index(Event.PAUSED_BY_HANDLER)]
FURTHER = ALL[len(USUAL) :]
_FURTHER_MESSAGES = (
    Event.PAUSED_BY_HANDLER,
    Event.CLOSED_BY_HANDLER,
    Event.ABORTED_BY_HANDLER,
    Event.STOPPED_BY_HANDLER,
    Event.LATE,
    Event.DEFERRED,
)
_WITH_ONE_BEHIND = (Event.RAISE, *(event for event in _FURTHER_MESSAGES if event != Event.LATE))


class Step(NamedTuple):
    """An event. After it the loop turns until there is nothing left to do; or, if it does not
    ``settle``, the next event comes before the loop's next turn."""

    event: Event
    settle: bool = True

    def __str__(self) -> str:
        return f"{self.event}{'' if self.settle else '+'}"


Steps: TypeAlias = tuple[Step, ...]


def parse_steps(text: str) -> Steps:
    """The steps in ``text``, such as ``frame pause+ stop``. Raises ValueError."""
    return tuple(Step(Event(word.rstrip("+")), not word.endswith("+")) for word in text.split())


def show(steps: Sequence[Step]) -> str:
    """The text that `parse_steps` reads."""
    return " ".join(map(str, steps))


def ended(steps: Steps) -> Steps:
    """``steps``, and what brings them to an end: the peer reads all, the connection is resumed and
    replies are given for each time that its handler may ask for it, and the peer ends its stream.
    """
    events = [event for event, _ in steps]
    paused = events.count(Event.PAUSED_BY_HANDLER) + events.count(Event.LATE)
    deferred = events.count(Event.DEFERRED)
    resumed = [Step(Event.RESUME), Step(Event.ANSWER)] if deferred else [Step(Event.RESUME)]
    return (*steps, Step(Event.FREE), *resumed * (1 + paused + deferred), Step(Event.HALF_CLOSE))


def sequences(length: int, first: Event, events: Sequence[Event], settle: bool) -> Iterator[Steps]:
    """Every sequence of 1 to ``length`` of the ``events`` that begins with ``first``."""
    for size in range(length):
        for others in product(events, repeat=size):
            yield tuple(Step(event, settle) for event in (first, *others))


class HalfClose(StrEnum):
    """How a TLS peer ends its stream."""

    BOTH = "both"  # close_notify, then FIN
    NOTIFY = "notify"  # close_notify alone
    FIN = "fin"  # alone
    CUT = "cut"  # likewise; and each PART is a TLS record that is sent in part


@dataclass(frozen=True)
class Setting:
    """What the connections of one loop have in common."""

    tls: bool = False
    tcp: bool = False  # a socket pair otherwise
    framing: str = "u32"
    size: int = 40  # bytes of a message
    half_close: HalfClose = HalfClose.BOTH
    in_flight: int = 1  # messages whose replies may come later
    by_loop: bool = False  # the loop makes the program's calls, in its turn

    def __str__(self) -> str:
        over = f"{'tls' if self.tls else 'plain'}-{'tcp' if self.tcp else 'unix'}"
        parts = [over, self.framing, self.size, self.half_close, self.in_flight]
        return ",".join(map(str, [*parts, "by-loop"] if self.by_loop else parts))

    def allows(self, steps: Steps) -> bool:
        """A socket pair cannot be reset."""
        return self.tcp or all(event is not Event.RESET for event, _ in steps)


_OVER = {
    "plain-unix": (False, False),
    "plain-tcp": (False, True),
    "tls-unix": (True, False),
    "tls-tcp": (True, True),
}
_USUAL_SETTING = ("plain-unix", "u32", "40", "both", "1", "")


def parse_setting(text: str) -> Setting:
    """The Setting that ``str`` made ``text`` of; what is left out at its end is as usual. Raises
    ValueError."""
    given = text.split(",")
    try:
        over, framing, size, half_close, in_flight, calls = (*given, *_USUAL_SETTING[len(given) :])
        tls, tcp = _OVER[over]
        half = HalfClose(half_close)
        return Setting(tls, tcp, framing, int(size), half, int(in_flight), calls == "by-loop")
    except (KeyError, ValueError):
        raise ValueError(f"{text!r} is no setting such as tls-unix or plain-tcp,u32,40") from None


_LASTING = (
    *(Event.PART, Event.FRAME, Event.FRAME, Event.PAUSE, Event.RESUME, Event.RESUME),
    *(Event.FULL, Event.FREE, Event.FREE, Event.PAUSED_BY_HANDLER),
    *(Event.LATE, Event.DEFERRED, Event.ANSWER, Event.ANSWER),
)
_LAST = tuple(event for event in ALL if event not in _LASTING)


def a_walk(chance: Random, length: int = 30) -> tuple[Setting, Steps]:
    """``length`` events. Those that end a connection are rare, or most of a walk would be behind
    its end."""
    ends = chance.choice((0.02, 0.08, 0.2))
    hurry = chance.choice((0, 0.3, 0.7))
    events = [chance.choice(_LAST if chance.random() < ends else _LASTING) for _ in range(length)]
    steps = tuple(Step(event, chance.random() >= hurry) for event in events)
    sent = 2 * sum(event is Event.FRAME or event in _FURTHER_MESSAGES for event in events)
    sizes = [size for size in (40, 40, 200, 3000, 9000) if size * (sent + 4) < MOST_SENT]
    return (
        Setting(
            tls=chance.random() < 0.5,
            tcp=Event.RESET in events or chance.random() < 0.5,
            framing=chance.choice(("u32", "netstring", "varint", "own")),
            size=chance.choice(sizes),
            half_close=chance.choice(tuple(HalfClose)),
            in_flight=chance.choice((1, 1, 2)),
            by_loop=hurry == 0 and chance.random() < 0.5,
        ),
        steps,
    )


class Item(NamedTuple):
    """One thing in the peer's stream."""

    event: Event  # of a message, BAD or HALF_CLOSE
    message: bytes = b""
    cut: bool = False  # the stream ends inside a frame


@cache
def framing_of(setting: Setting) -> Framing:
    if setting.framing == "own":
        return Own("own", MAX_FRAME, size=4)
    return parse(setting.framing, MAX_FRAME)


_BAD = {"u32": b"\xff" * 4, "own": b"\xff" * 4, "varint": b"\xff" * 12, "netstring": b"x"}


class PeerStream:
    """The bytes of a peer, event by event, and what is in them."""

    def __init__(self, setting: Setting) -> None:
        self._encode = framing_of(setting).encode
        self._bad = _BAD[setting.framing]
        self._size = setting.size
        self._count = 0
        self._begun: list[Item] = []  # the one whose frame is sent in part
        self._rest = b""  # of that frame
        self._ended = False

    def next(self, event: Event) -> tuple[bytes, list[Item]]:
        """What the peer sends for ``event``, and what that completes."""
        if self._ended:
            return b"", []
        match event:
            case Event.PART:
                return self._part(), []
            case Event.RESET:
                self._ended = True
            case Event.HALF_CLOSE:
                self._ended = True
                return b"", [Item(event, cut=bool(self._begun))]
            case Event.BAD:
                data, items = self._complete()
                return data + self._bad, [*items, Item(event)]
            case Event.FRAME | Event.RAISE:
                return self._frames(event)
            case _ if event in _FURTHER_MESSAGES:
                return self._frames(event)
        return b"", []

    def _part(self) -> bytes:
        """The first two bytes of a frame, which are of its header; then a third of the rest."""
        size = (len(self._rest) + 1) // 3
        if not self._begun:
            item, self._rest = self._next(Event.FRAME)
            self._begun, size = [item], 2
        part, self._rest = self._rest[:size], self._rest[size:]
        return part

    def _complete(self) -> tuple[bytes, list[Item]]:
        data, items = self._rest, self._begun
        self._rest, self._begun = b"", []
        return data, items

    def _frames(self, event: Event) -> tuple[bytes, list[Item]]:
        data, items = self._complete()
        for each in (event, Event.FRAME) if event in _WITH_ONE_BEHIND else (event,):
            item, frame = self._next(each)
            data, items = data + frame, [*items, item]
        return data, items

    def _next(self, event: Event) -> tuple[Item, bytes]:
        self._count += 1
        message = b"%d %s " % (self._count, event.encode())
        message += _FILL[: self._size - len(message)]
        return Item(event, message), self._encode(message)


_FILL = bytes(97 + at % 26 for at in range(MAX_FRAME))
