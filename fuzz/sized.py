"""Framings of which Python code says the size of a frame, and frames of each."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from epollo.errors import FrameCorrupt
from epollo.framing import Header, Sized, parse


class Wrapped(Sized):
    """As users write them: alternatives, a part to strip, a trailer of two bytes, filler."""

    strip = 1
    trailer = b"\r\n"
    filler = b"\n\x00"

    def measure(self, header: Header) -> int | None:
        if header[0] not in b"ab":
            raise FrameCorrupt("frame begins with neither a nor b")
        width = 1 if header[0] == 0x61 else 4
        if len(header) <= width:
            return None
        return 1 + width + int.from_bytes(header[1 : 1 + width], "little") + 2


class Late(Sized):
    """Asks for more bytes than its smallest frames have."""

    def measure(self, header: Header) -> int | None:
        return 2 + header[1] % 100 if len(header) >= 20 else None


class Until(Sized):
    """A frame that has to be searched for its end."""

    def measure(self, header: Header) -> int | None:
        end = header.find(b"\0", header.state or 0)
        header.state = len(header)
        return end + 1 if end >= 0 else None


Make = Callable[[Random, bytes], bytes]


def _wrapped(chance: Random, body: bytes) -> bytes:
    filler = bytes(chance.choice(b"\n\0") for _ in range(chance.choice((0, 0, 1, 3))))
    if chance.random() < 0.5 and len(body) < 256:
        return filler + b"a" + bytes([len(body)]) + body + b"\r\n"
    return filler + b"b" + len(body).to_bytes(4, "little") + body + b"\r\n"


def _late(chance: Random, body: bytes) -> bytes:
    body = body[:99]
    return bytes([chance.randrange(256), len(body) + chance.choice((0, 100))]) + body


def _until(_: Random, body: bytes) -> bytes:
    return body.replace(b"\0", b"x") + b"\0"


def _redis(chance: Random, body: bytes) -> bytes:
    bulk = b"$%d\r\n%b\r\n" % (len(body), body)
    kinds = (
        *(bulk, b"*2\r\n$3\r\nGET\r\n" + bulk, b"PING\r\n", b"+OK\r\n", b":7\r\n", b"$-1\r\n"),
        *(b"*-1\r\n", b"*0\r\n", b"%1\r\n+a\r\n" + bulk, b"|1\r\n+a\r\n:1\r\n*1\r\n" + bulk),
        *(b"\r\n" + bulk, b"*3\r\n*1\r\n:1\r\n*0\r\n" + bulk, b"_\r\n", b"inline\n"),
    )
    return chance.choice(kinds)


def _nats(chance: Random, body: bytes) -> bytes:
    payload = b"%d\r\n%b\r\n" % (len(body), body)
    return chance.choice((b"PUB a " + payload, b"msg a 1 " + payload, b"PING\r\n", b"+OK\r\n"))


def _stomp(chance: Random, body: bytes) -> bytes:
    end = chance.choice((b"\n", b"\r\n"))
    beat = chance.choice((b"", b"", b"\n", b"\r\n\n"))
    if chance.random() < 0.5:
        return beat + b"SEND" + end + end + body.replace(b"\0", b"x") + b"\0"
    length = b"content-length:%d" % len(body)
    return beat + b"SEND" + end + length + end + end + body + b"\0"


def _fix(_: Random, body: bytes) -> bytes:
    return b"8=FIX.4.4\x019=%d\x01%b10=123\x01" % (len(body), body)


def _websocket(chance: Random, body: bytes) -> bytes:
    mask = chance.choice((0, 0x80))
    size = len(body)
    if size < 126:
        head = bytes([0x82, mask | size])
    elif size < 1 << 16:
        head = bytes([0x82, mask | 126]) + size.to_bytes(2, "big")
    else:
        head = bytes([0x82, mask | 127]) + size.to_bytes(8, "big")
    return head + bytes(4 if mask else 0) + body


def _msgpack(chance: Random, body: bytes) -> bytes:
    blob = b"\xc6" + len(body).to_bytes(4, "big") + body
    heads = (b"", b"", b"\x92\xa1x", b"\x81\x01", b"\xdc\x00\x02\xc0", b"\xdf\0\0\0\1\xcd\0\0")
    return chance.choice(heads) + chance.choice(
        (blob, b"\xc7\x00\x05", b"\x90", b"\xcb" + bytes(8))
    )


def _rtsp(chance: Random, body: bytes) -> bytes:
    body = body[:65535]
    if chance.random() < 0.5:
        return b"$\0" + len(body).to_bytes(2, "big") + body
    return b"OPTIONS * RTSP/1.0\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


def _netconf(chance: Random, body: bytes) -> bytes:
    body = body or b"x"
    chunk = b"\n#%d\n%b" % (len(body), body)
    return chunk * chance.choice((1, 1, 2, 5)) + b"\n##\n"


def _pkt_line(chance: Random, body: bytes) -> bytes:
    body = body[:65000]
    return chance.choice((b"%04x%b" % (len(body) + 4, body), b"0000", b"0001", b"%04X" % 4))


def _gt06(chance: Random, body: bytes) -> bytes:
    if chance.random() < 0.5:
        body = body[:255]
        return b"xx" + bytes([len(body)]) + body + b"\r\n"
    body = body[:65535]
    return b"yy" + len(body).to_bytes(2, "big") + body + b"\r\n"


def _postgresql(chance: Random, body: bytes) -> bytes:
    size = (len(body) + 4).to_bytes(4, "big")
    return chance.choice((b"", b"Q", b"X")) + size + body


def _amqp(chance: Random, body: bytes) -> bytes:
    frame = b"\x01\0\1" + len(body).to_bytes(4, "big") + body + b"\xce"
    return chance.choice((frame, frame, b"AMQP\0\0\x09\x01"))


FRAMES: dict[str, Make] = {
    "redis": _redis,
    "nats": _nats,
    "stomp": _stomp,
    "fix": _fix,
    "websocket": _websocket,
    "msgpack": _msgpack,
    "rtsp": _rtsp,
    "netconf11": _netconf,
    "pktline": _pkt_line,
    "gt06": _gt06,
    "postgresql": _postgresql,
    "amqp": _amqp,
    "fuzz.sized:Wrapped": _wrapped,
    "fuzz.sized:Late": _late,
    "fuzz.sized:Until": _until,
}


USERS = [name for name in FRAMES if ":" in name]
"""Those that are not of a protocol."""


def sized(chance: Random, limit: int) -> Sized:
    """One of them."""
    framing = parse(chance.choice(list(FRAMES)), max(limit, 2))
    assert isinstance(framing, Sized)
    return framing


def frame_of(chance: Random, framing: Sized, body: bytes) -> bytes:
    """A frame of it, with ``body`` in it as a rule."""
    return FRAMES[framing.name](chance, body)
