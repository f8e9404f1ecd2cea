"""Framings in Python for `benchmarks.instructions`: the frames of native ones."""

from __future__ import annotations

from epollo.framing import Header, Sized


class Tpkt(Sized):
    """The frames of ``tpkt``."""

    def measure(self, header: Header) -> int | None:
        return header[2] << 8 | header[3] if len(header) >= 4 else None

    def frame(self, size: int, _number: int) -> bytes:
        """A frame of ``size`` bytes."""
        return b"\x03\x00" + size.to_bytes(2, "big") + bytes(size - 4)


class Numbered(Sized):
    """The frames of ``modbus``: each has a number before its length, so no two are alike."""

    def measure(self, header: Header) -> int | None:
        return 6 + (header[4] << 8 | header[5]) if len(header) >= 6 else None

    def frame(self, size: int, number: int) -> bytes:
        """A frame of ``size`` bytes, with that number."""
        return number.to_bytes(4, "big") + (size - 6).to_bytes(2, "big") + bytes(size - 6)
