"""FIX in its tag=value encoding (FIX 4.4 volume 2; FIX Transport 1.1: fields 8, 9 and 10)."""

from __future__ import annotations

import re

from epollo.errors import FrameCorrupt
from epollo.framing.sized import Header, Sized

_WHOLE = re.compile(rb"8=([A-Z0-9.]{3,8})\x019=([0-9]{1,9})\x01")
_CHECKSUM = 7  # bytes: 10=NNN and SOH


class Fix(Sized):
    """BeginString, BodyLength, as many bytes as that says, and CheckSum, which is not checked."""

    def measure(self, header: Header) -> int | None:
        start = _WHOLE.match(header)
        if start is not None:
            return start.end() + int(start[2]) + _CHECKSUM
        if not _is_begun(bytes(header[:32])):
            raise FrameCorrupt("frame does not begin with BeginString (8) and BodyLength (9)")
        return None


def _is_begun(text: bytes) -> bool:
    """May ``text`` be the first part of both fields?"""
    begin, soh, length = text.partition(b"\x01")
    if not soh:
        return re.fullmatch(rb"8(=[A-Z0-9.]{0,8})?", begin) is not None
    digits = rb"(9(=[0-9]{0,9})?)?"
    return bool(re.fullmatch(rb"8=[A-Z0-9.]{3,8}", begin) and re.fullmatch(digits, length))
