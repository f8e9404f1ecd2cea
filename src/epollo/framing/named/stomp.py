"""STOMP (STOMP 1.2, "STOMP Frames", "Heart-beating", "Augmented BNF")."""

from __future__ import annotations

import re

from epollo.errors import FrameCorrupt
from epollo.framing.sized import Header, Sized

MOST_HEADERS = 1 << 16  # bytes

_END = re.compile(rb"\n\r?\n")
_LENGTH = re.compile(rb"\ncontent-length:([^\r\n]*)")  # the first of several counts


class Stomp(Sized):
    """Header lines, an empty line, a body; then NUL, which is not part of the message.

    The body has as many bytes as ``content-length`` says; without that, it ends at the first NUL.
    Ends of lines between frames are heart-beats.
    """

    trailer = b"\0"
    filler = b"\r\n"

    def measure(self, header: Header) -> int | None:
        body, searched = header.state or (0, 0)
        if not body:
            end = _END.search(header, max(0, searched - 2), MOST_HEADERS)
            body = end.end() if end is not None else 0
            if header.find(b"\0", searched, body or MOST_HEADERS) >= 0:
                raise FrameCorrupt("frame has no empty line after its headers")
            length = _LENGTH.search(header, 0, body)
            if length is not None:
                return body + _number(bytes(length[1])) + 1
            if not body and len(header) >= MOST_HEADERS:
                raise FrameCorrupt("frame has no empty line after its headers")
        end_at = header.find(b"\0", max(body, searched)) if body else -1
        header.state = body, len(header)
        return end_at + 1 if end_at >= 0 else None


def _number(text: bytes) -> int:
    if not text.isdigit() or len(text) > 18:
        raise FrameCorrupt(f"content-length is {text[:80]!r} instead of a number")
    return int(text)
