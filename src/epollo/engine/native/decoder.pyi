from typing import Self

from epollo.framing import Buffer, Framing

def live() -> int:
    """How many partial frames there are, in all streams: for tests that look for leaks."""

class Decoder:
    """The messages of one stream, as `epollo.framing.Decoder` has them; to be compared with it."""

    def __init__(self, framing: Framing) -> None: ...
    def another(self) -> Self:
        """A decoder of another stream. It shares what was learned, as connections do."""

    def feed(self, data: Buffer) -> list[bytes]: ...
    def encode(self, message: bytes) -> bytes:
        """The frame that carries ``message``, as a connection sends it. Raises EncodeError."""

    def eof(self) -> None: ...
