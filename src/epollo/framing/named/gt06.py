"""GT06, the protocol of Concox GPS trackers (Concox GT06 protocol 1.8.1, 4)."""

from __future__ import annotations

from epollo.errors import FrameCorrupt
from epollo.framing.sized import Header, Sized


class Gt06(Sized):
    """Frames that begin with 78 78 and a length of one byte, or 79 79 and a length of two.

    The length counts what follows it, with the checksum. The message has no CR LF at its end.
    """

    trailer = b"\r\n"

    def measure(self, header: Header) -> int | None:
        if bytes(header[:2]) not in (b"xx", b"yy", b"x", b"y"):
            raise FrameCorrupt("frame begins with neither 78 78 nor 79 79")
        wide = header[0] == 0x79
        if len(header) < 3 + wide:
            return None
        return int.from_bytes(header[2 : 3 + wide], "big") + 5 + wide
