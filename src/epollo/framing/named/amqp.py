"""AMQP 0-9-1 (AMQP 0-9-1 specification, 4.2.2 and 4.2.3)."""

from __future__ import annotations

from epollo.errors import FrameCorrupt
from epollo.framing.sized import Header, Sized

_PROTOCOL = b"AMQP"


class Amqp(Sized):
    """The protocol header of eight bytes, then frames. The message is the whole frame."""

    def measure(self, header: Header) -> int | None:
        if header[0] == _PROTOCOL[0]:
            if not _PROTOCOL.startswith(header[:4]):
                raise FrameCorrupt("protocol header does not begin with AMQP")
            return 8 if len(header) >= len(_PROTOCOL) else None
        return 8 + int.from_bytes(header[3:7], "big") if len(header) >= 7 else None
