"""RESP, the protocol of Redis, versions 2 and 3 (Redis serialization protocol specification)."""

from __future__ import annotations

from epollo.errors import FrameCorrupt
from epollo.framing.sized import Header, Sized

MOST_LINE = 1 << 16  # bytes, as in Redis

_LINES = b"+-:_#,("  # values of one line
_BLOBS = b"$!="  # a length, then as many bytes and CR LF
_VALUES = {b"*"[0]: 1, b"~"[0]: 1, b">"[0]: 1, b"%"[0]: 2, b"|"[0]: 2}  # per element
_LEAST = 3  # bytes of a value


class Redis(Sized):
    """Requests and replies. A command in plain text is a line. The message is the whole frame.

    Empty lines between frames are skipped.
    """

    filler = b"\r\n"

    def measure(self, header: Header) -> int | None:
        at, left, searched = header.state or (0, 1, 0)
        while left:
            if at and at + left * _LEAST > self.max_frame:
                return at + left * _LEAST
            end = header.find(b"\n", max(at, searched), at + MOST_LINE)
            if end < 0:
                if len(header) >= at + MOST_LINE:
                    raise FrameCorrupt(f"a line has {MOST_LINE} bytes or more")
                header.state = at, left, len(header)
                return None
            size, values = _value(header, at, end, inline=not at)
            at, left = end + 1 + size, left - 1 + values
        return at


def _value(header: Header, start: int, end: int, *, inline: bool) -> tuple[int, int]:
    """The bytes, and the values, that follow the line from ``start`` to its LF at ``end``."""
    kind = header[start]
    if kind in _LINES or kind in _BLOBS or kind in _VALUES:
        if header[end - 1] != 0x0D:
            raise FrameCorrupt("a line ends with LF instead of CR LF")
    elif not inline:
        raise FrameCorrupt(f"a value begins with {chr(kind)!r}")
    else:
        return 0, 0
    if kind in _LINES:
        return 0, 0
    number = _number(bytes(header[start + 1 : end - 1]))
    if kind in _BLOBS:
        return (number + 2 if number >= 0 else 0), 0
    return 0, max(0, number) * _VALUES[kind] + (kind == b"|"[0])


def _number(text: bytes) -> int:
    if not (text.isdigit() or text == b"-1") or len(text) > 18:
        raise FrameCorrupt(f"a length is {text[:80]!r}, which is no number")
    return int(text)
