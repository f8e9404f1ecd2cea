"""A stream, by chance: a framing, bytes that are frames of it or nearly, and how they come.

Whoever makes the choices makes the stream: a seed, hypothesis, or a coverage-guided fuzzer, each
as a `random.Random`. The same choices are the same stream, on every machine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random

from epollo.errors import EncodeError
from epollo.framing import (
    Announced,
    Ber,
    Delimiter,
    Enclosed,
    Fixed,
    Framing,
    Headers,
    LengthField,
    LengthPrefix,
    Line,
    Raw,
    Sized,
    Varint,
    parse,
)
from epollo.framing.protocols import PROTOCOLS
from fuzz.sized import USERS, frame_of, sized

LARGEST = 200_000  # bytes of one message, where a stream may be long
SMALL = 3_000  # and where it is to be short, or cut in single bytes

# Sizes at which something changes: a byte of a varint, the native decoder's first look (64), its
# read into place (8 KiB), its buffer of replies (64 KiB).
_SIZES = (0, 0, 1, 1, 2, 3, 5, 7, 12, 30, 59, 60, 61, 62, 63, 64, 65, 66, 100, 126, 127, 128, 129)
_LONGER = (255, 256, 1000, 2000)
_LARGE = (8187, 8190, 8191, 8192, 8193, 8200, 16_383, 16_384, 20_000)
_VERY_LARGE = (65_530, 65_535, 65_536, 65_537, 70_000, 131_072, LARGEST)

_LIMITS = (1, 2, 4, 8, 12, 20, 63, 64, 65, 100, 128, 300, 8193, 8200, 20_000, 65_539, 70_000)
_WIDE_LIMITS = (1 << 20, 1 << 20, 1 << 20, 1 << 40, (1 << 63) - 1, 1 << 70)

_TELLING = (b"0", b"1", b"7:", b"12", b":", b",", b"\0", b"\1", b"\x7f", b"\x80", b"\xff")
_HEADERS = (
    *(b"Content-Length: 1\r\n", b"l:2\r\n", b"content-length:\t003 \r\n", b"x: y\r\n", b"\r\n"),
    *(b"Transfer-Encoding: chunked\r\n", b"Content-Length : 1\r\n", b" 1\r\n", b"a\n", b"\r"),
    *(b"CONTENT-LENGTHY: 9\r\n", b"L:\r\n", b"Content-Length\x0b: 1\r\n", b"l", b"Content-Length"),
    *(b"GET / HTTP/1.1\r\n", b"Content-Length: " + b"9" * 18 + b"\r\n\r\n", b"l: 1048577\r\n\r\n"),
)
_TEXTUAL = (b"\r", b"\n", b"\r\n", b"-", b"--", b"a", b"b", b"aab", b"ab", b"0:,", b"01:x,")
_FOREIGN = (
    b"GET / HTTP/1.1\r\nHost: example\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(32)),
    b"SSH-2.0-OpenSSH_9.2\r\n",
    b"\xff" * 12,
    b"\x80" * 12,
    b"9" * 25,
    b"\x7f" + b"\xff" * 8,
)
_EDGES = ((1 << 63) - 9, (1 << 63) - 2, (1 << 63) - 1, 1 << 63, (1 << 64) - 1, 1 << 31, -1)
_STEPS = (2, 3, 5, 7, 13, 63, 64, 65, 100, 1000, 4095, 8191, 8192, 9000, 65_536)


class Own(LengthPrefix):
    """A framing that a user has written: the native engine has no rule for it."""


@dataclass(frozen=True)
class Stream:
    """What a peer sends."""

    framing: Framing
    chunks: list[bytes]

    @property
    def family(self) -> str:
        """Which of the framings it is of; its parameters apart."""
        return family_of(self.framing)

    def __str__(self) -> str:
        sizes = [len(chunk) for chunk in self.chunks]
        start = b"".join(self.chunks)[:80]
        return (
            f"{self.framing.name} with max_frame {self.framing.max_frame}, {sum(sizes)} bytes in "
            f"{len(sizes)} chunks of {sizes[:20]}, the first bytes {start!r}"
        )


def family_of(framing: Framing) -> str:
    named = framing.name in PROTOCOLS or isinstance(framing, Sized)
    return framing.name if named else type(framing).__name__.lower()


FAMILIES = (
    *("lengthprefix", "lengthfield", "own", "varint", "netstring", "digits", "digitsuntil", "bcd"),
    *("ber", "headers", "delimiter", "enclosed", "line", "fixed", "raw"),
    *PROTOCOLS,
    *USERS,
)


def a_stream(chance: Random, largest: int = LARGEST) -> Stream:
    """One of messages of at most ``largest`` bytes, most of them much smaller."""
    framing = a_framing(chance)
    if chance.random() < 0.3:
        largest = min(largest, SMALL)
    parts = list(_parts(chance, framing, largest))
    data = b"".join(parts)
    if data and chance.random() < 0.3:
        data = data[: -chance.randint(1, min(len(data), len(parts[-1]) + 2))]
    return Stream(framing, _chunks(chance, data, parts))


def a_framing(chance: Random) -> Framing:
    """Any framing, of parameters that some frame can have."""
    make = chance.choice(_MAKERS)
    limit = chance.choice(_LIMITS if chance.random() < 0.6 else _WIDE_LIMITS)
    return make(chance, limit)


def _prefix(chance: Random, limit: int) -> Framing:
    spec = chance.choice(
        ("u8", "u16", "u32", "u32", "u64", "u16le", "u32le", "u64le", "dns", "erlang1", "kafka")
    )
    return parse(spec, max(limit, 8))


def _own(chance: Random, limit: int) -> Framing:
    return Own("own", max(limit, 4), size=chance.choice((2, 4)))


def _field(chance: Random, limit: int) -> Framing:
    if chance.random() < 0.2:
        return parse(chance.choice(("modbus", "mongodb")), max(limit, 6))
    offset = chance.choice((0, 0, 1, 2, 4, 15, 70))
    size = chance.choice((1, 2, 3, 4, 8))
    adjust = chance.choice((0, 0, 1, 3, -1, -2, -size, -offset - size, 40, (1 << 31) - 1))
    strip = chance.choice((0, offset + size, offset + size, size, 1, 3, offset + size + 4, 100))
    order = chance.choice(("big", "little"))
    spec = f"length(offset={offset},size={size},adjust={adjust},strip={strip},order={order})"
    return parse(spec, max(limit, offset + size))


def _delimiter(chance: Random, limit: int) -> Framing:
    if chance.random() < 0.5:
        spec = chance.choice((r"\0", "--", "aab", "aba", r"\r\n", "abaab", r"\xff\xff"))
    else:
        spec = "".join(chance.choice("ab") for _ in range(chance.randint(1, 6)))
    return parse(f"delimiter:{spec}", limit)


def _enclosed(chance: Random, limit: int) -> Framing:
    start = chance.choice((r"\x0b", "-", "--", "aab", "ab", "a" * 30))
    end = chance.choice((r"\x1c\r", "-", "--", "aab", "aba", r"\r\n", "b"))
    return parse(f"delimiter(end={end},start={start})", limit)


def _announced(chance: Random, limit: int) -> Framing:
    """One with its length in a notation, anywhere."""
    offset = chance.choice((0, 0, 0, 1, 2, 4, 70))
    adjust = chance.choice((0, 0, 1, 3, -1, -2, -offset - 2, 40, -(1 << 31) + 1, (1 << 31) - 1))
    notation = chance.choice(("digits(size=", "digits(end=", "bcd(size=", "varint(size="))
    if notation == "digits(end=":
        first = chance.choice((":", '" "', r"\xff", "x"))
    else:
        most = {"digits(size=": 18, "bcd(size=": 9, "varint(size=": 10}[notation]
        first = str(chance.choice((1, 2, 3, 4, 4, most)))
    return parse(f"{notation}{first},offset={offset},adjust={adjust})", max(limit, offset + 1))


def _named(chance: Random, limit: int) -> Framing:
    specs = ("ber", "ber", "ldap", "mqtt", "syslog", "digits(size=4)", "bcd(size=2)", "minecraft")
    return parse(chance.choice(specs), max(limit, 2))


def _headers(chance: Random, limit: int) -> Framing:
    return parse(chance.choice(("headers", "headers", "headers(alias=l)")), limit)


def _line(chance: Random, limit: int) -> Framing:
    return parse(chance.choice(("line", "line(end=crlf)")), limit)


def _fixed(chance: Random, limit: int) -> Framing:
    size = chance.choice((1, 2, 7, 64, 65, 100, 8192, 8200, 70_000))
    return parse(f"fixed:{size}", max(size, limit))


_NAMES = [name for name, each in PROTOCOLS.items() if not each.framing.startswith("epollo.")]


def _protocol(chance: Random, limit: int) -> Framing:
    return parse(chance.choice(_NAMES), max(limit, 18))  # where the length of bgp ends


_MAKERS: tuple[Callable[[Random, int], Framing], ...] = (
    _prefix,
    _prefix,
    _field,
    _field,
    _own,
    lambda chance, limit: parse(chance.choice(("varint", "protobuf")), limit),
    lambda _, limit: parse("netstring", limit),
    _delimiter,
    _enclosed,
    _announced,
    _announced,
    _named,
    _headers,
    _line,
    _fixed,
    sized,
    sized,
    sized,
    _protocol,
    _protocol,
    _protocol,
    lambda _, limit: parse("raw", limit),
)


def _parts(chance: Random, framing: Framing, largest: int) -> Iterator[bytes]:
    """Frames; then perhaps what is none; then perhaps frames again."""
    longest = max(0, min(largest, framing.max_frame))
    for _ in range(chance.choice((0, 1, 1, 2, 3, 5, 9))):
        yield a_frame(chance, framing, longest)
    hostility = chance.random()
    if hostility < 0.45:
        return
    if hostility < 0.65:
        yield _oversized(chance, framing)
    elif hostility < 0.75:
        yield chance.choice(_FOREIGN)
    elif hostility < 0.85:
        words = _HEADERS if isinstance(framing, Headers) else (*_TELLING, *_TEXTUAL)
        yield b"".join(chance.choice(words) for _ in range(chance.randint(1, 20)))
    else:
        yield mutated(chance, a_frame(chance, framing, longest))
    for _ in range(chance.choice((0, 0, 1, 4))):
        yield a_frame(chance, framing, longest)


def a_size(chance: Random, most: int) -> int:
    """Of a message: small as a rule, and often one at which something changes."""
    kind = chance.random()
    if kind < 0.1:
        return max(0, most - chance.randint(0, 12))
    sizes: tuple[int, ...] = _SIZES if kind < 0.8 else _LONGER if kind < 0.9 else _LARGE
    if kind > 0.985:
        sizes = _VERY_LARGE
    return min(most, chance.choice(sizes))


_BULK = bytes(Random(1).randbytes(4096)) * 64
_FILL = b"-aba\r\0b,:1"


def a_message(chance: Random, size: int) -> bytes:
    """``size`` bytes; some messages are made of what delimiters are made of."""
    kind = chance.random()
    if kind < 0.5:
        start = chance.randrange(4096)
        return _BULK[start : start + size]
    if kind < 0.8 or size > SMALL:
        return bytes([chance.choice(b"x\r\n0\xff")]) * size
    start = chance.randrange(len(_FILL))
    return (_FILL * (size // len(_FILL) + 2))[start : start + size]


def a_frame(chance: Random, framing: Framing, longest: int) -> bytes:
    """A good frame, as a rule."""
    size = framing.size if isinstance(framing, Fixed) else a_size(chance, longest)
    message = a_message(chance, size)
    if isinstance(framing, Sized):
        return frame_of(chance, framing, message)
    if isinstance(framing, LengthField):
        return _with_length(chance, framing, size, size)
    if isinstance(framing, Announced):
        return _notated(chance, framing, size, message)
    if isinstance(framing, Headers):
        return _with_headers(chance, framing, size, message)
    if isinstance(framing, Enclosed):
        return framing.start + message.replace(framing.delimiter, b"") + framing.delimiter
    if isinstance(framing, Delimiter):
        return message.replace(framing.delimiter, b"") + framing.delimiter
    if isinstance(framing, Line):
        return message.replace(b"\n", b"") + chance.choice((b"\n", b"\r\n"))
    try:
        return framing.encode(message)
    except EncodeError:  # the header has no room in max_frame
        return framing.encode(b"") if framing.max_frame >= 3 else message[:1]


def _notated(chance: Random, framing: Announced, announced: int, message: bytes) -> bytes:
    """A frame that says to have ``announced`` bytes behind its length, or nearly."""
    start = a_message(chance, framing.offset)
    if isinstance(framing, Ber):
        start = chance.choice(
            (b"\x30", b"\x30", b"\x02", b"\x1f\x05", b"\xbf\x8f\x4f", b"\x1f\x80\x80")
        )
    value = max(0, announced - framing.adjust)
    width = 0 if chance.random() < 0.7 else chance.randint(1, framing.most_width)
    number = framing.write(value, width)
    if isinstance(framing, Varint) and chance.random() < 0.2:
        number = _padded_varint(chance, value)
    if number is None:
        number = framing.write(value) or framing.write(len(message)) or b""
    return start + number + message + framing.trailer


def _with_headers(chance: Random, framing: Headers, announced: int, body: bytes) -> bytes:
    """A frame of some headers, among them one of a body of ``announced`` bytes."""
    names = [b"Content-Length", b"content-length", b"CONTENT-LENGTH", framing.alias or b"l"]
    length = chance.choice(names) + chance.choice((b":", b": ", b":\t")) + b"%d" % announced
    lines = [b"X-%d: %d" % (n, n) for n in range(chance.choice((0, 0, 1, 3, 40)))]
    if announced or chance.random() < 0.7:
        lines.insert(chance.randint(0, len(lines)), length)
    if chance.random() < 0.02:
        lines.append(b"x" * chance.choice((65_000, 65_536, 70_000)))
    return b"".join(line + b"\r\n" for line in lines) + b"\r\n" + body


def _with_length(chance: Random, framing: LengthField, announced: int, real: int) -> bytes:
    """A frame that says to be of ``announced`` bytes and is of ``real`` ones, where it can."""
    value = announced - framing.adjust - framing.end
    if chance.random() < 0.7:  # else it may come out too small
        value = max(0, framing.strip - framing.adjust - framing.end, value)
        real = max(real, value + framing.adjust + framing.end) if announced == real else real
    value %= 1 << 8 * framing.size
    start = a_message(chance, framing.offset) + value.to_bytes(framing.size, framing.order)
    return start + a_message(chance, max(0, min(real, LARGEST) - len(start)))


def _oversized(chance: Random, framing: Framing) -> bytes:
    """A frame at max_frame, over it by little, or by much; its body, or a part of it, behind."""
    over = chance.choice((-1, 0, 1, 1, 2, 3, 100, 1 << 16, 1 << 31, 1 << 32, 1 << 62, 1 << 63))
    size = max(0, framing.max_frame + over)
    if isinstance(framing, LengthField):
        if chance.random() < 0.2:
            size = chance.choice(_EDGES) + chance.choice((0, framing.adjust + framing.end))
        return _with_length(chance, framing, size, chance.choice((0, 5, min(size, LARGEST))))
    if isinstance(framing, Headers):
        length = max(0, size - chance.choice((0, 25, 30)))
        return _with_headers(chance, framing, length, b"x" * min(length, LARGEST))
    if isinstance(framing, Announced):
        length = max(0, size - framing.offset - chance.choice((0, 1, 2, 3, 4, 5)))
        frame = _notated(chance, framing, length, a_message(chance, min(length, LARGEST)))
        return frame[:-1] + b";" if framing.trailer and chance.random() < 0.3 else frame
    message = a_message(chance, min(size, LARGEST))
    if isinstance(framing, Sized):
        return frame_of(chance, framing, message)
    if isinstance(framing, Enclosed) and chance.random() < 0.9:
        message = framing.start + message
    if isinstance(framing, Delimiter | Enclosed):
        end = framing.delimiter
        return message + chance.choice((end, end[:-1], b""))
    return message + chance.choice((b"\r\n", b"\n", b"\r", b"\r\r\n", b""))


def _padded_varint(chance: Random, number: int) -> bytes:
    """``number``, cut to 70 bits, with zeros behind it to a length that a varint has, or not."""
    digits: list[int] = []
    while number > 0x7F and len(digits) < 9:
        digits.append(number & 0x7F | 0x80)
        number >>= 7
    digits.append(number & 0x7F)
    for _ in range(chance.choice((0, 0, 1, 3, 9, 10))):
        if len(digits) < 11:
            digits[-1] |= 0x80
            digits.append(0)
    return bytes(digits)


def mutated(chance: Random, frame: bytes) -> bytes:
    """``frame`` with a byte changed, gone, doubled or put in, near its beginning or its end."""
    if not frame:
        return b"\0"
    near = min(len(frame), 12)
    at = (
        chance.randrange(near) if chance.random() < 0.7 else len(frame) - 1 - chance.randrange(near)
    )
    byte = bytes(
        [chance.choice((0, 1, 0x2C, 0x20, 0x30, 0x39, 0x3A, 0x7F, 0x80, 0xFF, 0x0A, 0x0D))]
    )
    insert, rest = chance.choice(((byte, 1), (b"", 1), (frame[at : at + 1], 0), (byte, 0)))
    return frame[:at] + insert + frame[at + rest :]


def _chunks(chance: Random, data: bytes, parts: list[bytes]) -> list[bytes]:
    """``data`` in the pieces in which it comes; none is empty."""
    kind = chance.random()
    if kind < 0.15:
        cuts = []
    elif kind < 0.3 and len(data) <= SMALL:
        cuts = list(range(1, len(data)))
    elif kind < 0.55:
        step = max(chance.choice(_STEPS), len(data) // 300)
        cuts = list(range(step, len(data), step))
    elif kind < 0.75:
        cuts = sorted(_near_the_joints(chance, parts))
    else:
        cuts = sorted(chance.randrange(len(data) + 1) for _ in range(chance.randint(1, 12)))
    ends = [*cuts, len(data)]
    starts = [0, *ends]
    pieces = [data[start:end] for start, end in zip(starts, ends, strict=False)]
    return [piece for piece in pieces if piece]


def _near_the_joints(chance: Random, parts: list[bytes]) -> Iterator[int]:
    """Behind the first bytes of a frame, where its header ends, and about its end."""
    end = 0
    for part in parts:
        yield max(0, end + chance.randint(-2, 10))
        end += len(part)


def is_raw(framing: Framing) -> bool:
    return isinstance(framing, Raw)
