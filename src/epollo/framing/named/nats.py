"""NATS (NATS Client Protocol; the methods PUB, HPUB, MSG and HMSG have a payload)."""

from __future__ import annotations

from epollo.errors import FrameCorrupt
from epollo.framing.sized import Header, Sized

MOST_LINE = 4096  # bytes, as in nats-server: max_control_line

_WITH_PAYLOAD = (b"PUB", b"HPUB", b"MSG", b"HMSG")


class Nats(Sized):
    """A line that ends with CR LF, and for some a payload and CR LF. The message is the whole."""

    def measure(self, header: Header) -> int | None:
        end = header.find(b"\n", 0, MOST_LINE)
        if end < 0:
            if len(header) >= MOST_LINE:
                raise FrameCorrupt(f"a line has {MOST_LINE} bytes or more")
            return None
        words = bytes(header[:end]).split()
        if not words or words[0].upper() not in _WITH_PAYLOAD:
            return end + 1
        if not words[-1].isdigit() or len(words[-1]) > 18 or len(words) < 3:
            raise FrameCorrupt(f"{words[0][:80]!r} does not end with the size of its payload")
        return end + 1 + int(words[-1]) + 2
