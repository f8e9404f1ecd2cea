"""The pkt-lines of git (gitprotocol-common, "pkt-line Format"; gitprotocol-v2)."""

from __future__ import annotations

import re

from epollo.errors import FrameCorrupt
from epollo.framing.sized import Header, Sized

_LENGTH = re.compile(rb"[0-9A-Fa-f]{1,4}")


class PktLine(Sized):
    """A length of four hexadecimal digits that counts itself; 0 to 2 are a frame without data."""

    def measure(self, header: Header) -> int | None:
        digits = bytes(header[:4])
        if not _LENGTH.fullmatch(digits) or digits == b"0003":
            raise FrameCorrupt("frame does not begin with a length in four hexadecimal digits")
        return max(4, int(digits, 16)) if len(digits) == 4 else None
