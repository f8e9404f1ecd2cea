"""RTSP, with binary data between its messages (RFC 2326, 10.12; RFC 7826, 14)."""

from __future__ import annotations

from epollo.framing.headers import Headers
from epollo.framing.sized import Header, Sized


class Rtsp(Sized):
    """Header lines and a body, as in ``headers``; or a dollar sign, a channel, a length of two
    bytes and the data. The message is the whole frame."""

    def __init__(self, name: str, max_frame: int) -> None:
        super().__init__(name, max_frame)
        self._headers = Headers(name, max_frame)

    def measure(self, header: Header) -> int | None:
        if header[0] == b"$"[0]:
            return 4 + int.from_bytes(header[2:4], "big") if len(header) >= 4 else None
        extent = self._headers.seek(header, 0, header.state or 0)
        header.state = len(header)
        return extent.size if extent is not None else None
