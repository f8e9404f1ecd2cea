"""Frames of every framing, of a wanted size: all alike, or each unlike the one before."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TypeAlias

from benchmarks.errors import BenchmarkError
from benchmarks.sized import Numbered, Tpkt
from epollo import framing as framings
from epollo.bench.load.length_inside import LengthInside, is_length_inside
from epollo.errors import EncodeError
from epollo.framing import Framing, Sized

VARIED = "varied "
SIZES = 16  # of varied frames: from 4 bytes less to 11 bytes more than is wanted


class Frames:
    """The frames of each turn: all alike; or those of ``varied SPEC``, of other sizes, and with
    other bytes in the next turn."""

    def __init__(self, spec: str, size: int) -> None:
        self._varied = spec.startswith(VARIED)
        self._spec = spec.removeprefix(VARIED)
        self._size = size
        self._number = 0

    def turns(self, depth: int, count: int) -> list[bytes]:
        """Those of the next ``count`` turns of ``depth``."""
        if not self._varied:
            return [a_frame(self._spec, self._size) * depth] * count
        return [self._turn(depth) for _ in range(count)]

    def _turn(self, depth: int) -> bytes:
        self._number += depth
        numbers = range(self._number, self._number + depth)
        return b"".join(
            a_frame(self._spec, self._size - 4 + number % SIZES, number) for number in numbers
        )


def a_frame(spec: str, size: int, number: int = 0) -> bytes:
    """A frame of that framing, of ``size`` bytes; those of another number differ, if they can.

    Raises:
        BenchmarkError: there is no frame of that size.
    """
    framing = framings.parse(spec)
    frames = (
        _of_sized(framing, size, number)
        if isinstance(framing, Sized)
        else _of(framing, size, b"%c" % (0x61 + number % 26))
    )
    for frame in frames:
        if len(frame) == size:
            return frame
    raise BenchmarkError(f"no frame of {spec} has {size} bytes")


def _of(framing: Framing, size: int, fill: bytes) -> Iterator[bytes]:
    for length in range(size, 0, -1):
        with contextlib.suppress(EncodeError):
            message = fill * length
            if is_length_inside(framing):
                message = LengthInside(lambda *_: fill * size, framing).message(0, 0, 0)
            yield framing.encode(message)


def _of_sized(framing: Sized, size: int, number: int) -> Iterator[bytes]:
    if isinstance(framing, Tpkt | Numbered):
        yield framing.frame(size, number)
        return
    make = NAMED[type(framing).__name__]
    for length in range(size, -1, -1):
        yield make(b"%c" % (0x61 + number % 26) * length, number)


Make: TypeAlias = Callable[[bytes, int], bytes]


def _nats(body: bytes, number: int) -> bytes:
    return b"PUB orders.%04d %d\r\n%b\r\n" % (number % 10_000, len(body), body)


def _redis(body: bytes, number: int) -> bytes:
    return b"*3\r\n$3\r\nSET\r\n$4\r\n%04d\r\n$%d\r\n%b\r\n" % (number % 10_000, len(body), body)


def _stomp(body: bytes, number: int) -> bytes:
    head = b"SEND\ndestination:%04d\ncontent-length:%d\n\n" % (number % 10_000, len(body))
    return head + body + b"\0"


def _fix(body: bytes, number: int) -> bytes:
    fields = b"34=%06d\x01%b\x01" % (number, body)
    return b"8=FIX.4.4\x019=%d\x01%b10=123\x01" % (len(fields), fields)


def _websocket(body: bytes, number: int) -> bytes:
    size = bytes([0x80 | len(body)]) if len(body) < 126 else b"\xfe" + len(body).to_bytes(2, "big")
    return b"\x82" + size + number.to_bytes(4, "big") + body


def _msgpack(body: bytes, number: int) -> bytes:  # a request of msgpack-rpc
    return (
        b"\x94\x00\xce"
        + number.to_bytes(4, "big")
        + b"\xa3set\x91\xc5"
        + len(body).to_bytes(2, "big")
        + body
    )


def _rtsp(body: bytes, number: int) -> bytes:
    return b"$%c%b%b" % (number % 4, len(body).to_bytes(2, "big"), body)


def _netconf(body: bytes, _number: int) -> bytes:
    return b"\n#%d\n%b\n##\n" % (len(body) or 1, body)


def _pkt_line(body: bytes, _number: int) -> bytes:
    return b"%04x%b" % (len(body) + 4, body)


def _gt06(body: bytes, number: int) -> bytes:
    head = b"xx%c" % len(body) if len(body) < 256 else b"yy" + len(body).to_bytes(2, "big")
    return head + b"%c" % (number % 256) * bool(body) + body[1:] + b"\r\n"


def _postgresql(body: bytes, _number: int) -> bytes:
    return b"Q" + (len(body) + 4).to_bytes(4, "big") + body


def _amqp(body: bytes, number: int) -> bytes:
    channel = (number % 1000).to_bytes(2, "big")
    return b"\x01" + channel + len(body).to_bytes(4, "big") + body + b"\xce"


NAMED: dict[str, Make] = {
    "Nats": _nats,
    "Redis": _redis,
    "Stomp": _stomp,
    "Fix": _fix,
    "WebSocket": _websocket,
    "MessagePack": _msgpack,
    "Rtsp": _rtsp,
    "Chunks": _netconf,
    "PktLine": _pkt_line,
    "Gt06": _gt06,
    "PostgreSQL": _postgresql,
    "Amqp": _amqp,
}
"""Frames of the classes in `epollo.framing.named`, with a body, and a number where a frame of the
protocol has one."""
