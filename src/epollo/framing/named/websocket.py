"""Frames of the WebSocket protocol, after its handshake (RFC 6455, 5.2)."""

from __future__ import annotations

from epollo.errors import FrameCorrupt
from epollo.framing.sized import Header, Sized

_FEWEST = {126: 126, 127: 1 << 16}  # bytes of a payload whose length is in the longer forms


class WebSocket(Sized):
    """The message is the whole frame, masked as it came."""

    def measure(self, header: Header) -> int | None:
        if len(header) < 2:
            return None
        short, mask = header[1] & 0x7F, 4 * (header[1] >> 7)
        end = {126: 4, 127: 10}.get(short, 2)
        if len(header) < end:
            return None
        payload = int.from_bytes(header[2:end], "big") if end > 2 else short
        if payload < _FEWEST.get(short, 0) or payload >> 63:
            raise FrameCorrupt(f"payload length {payload} is not in its shortest form")
        return end + mask + payload
