"""A stream without frames."""

from __future__ import annotations

from epollo.framing.base import Buffer, Decoder, Framing, to_bytes


class Raw(Framing):
    """No framing: a message is the bytes of one read. For echo servers and proxies."""

    def encode(self, message: Buffer) -> bytes:
        return to_bytes(message)

    def decoder(self) -> Decoder:
        return RawDecoder()


class RawDecoder(Decoder):
    """Returns the bytes that it is fed."""

    __slots__ = ()

    partial = False
    partial_bytes = b""

    def feed(self, data: Buffer) -> list[bytes]:
        return [to_bytes(data)] if data else []

    def eof(self) -> None:
        """A raw stream may end anywhere."""
