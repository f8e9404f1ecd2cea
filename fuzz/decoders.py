"""Both decoders under atheris, which looks for bytes that take new ways through the code.

    python -m fuzz.decoders [-max_total_time=SECONDS] [other options of libFuzzer] [CORPUS]

The bytes are the choices that `fuzz.streams` makes a stream of. A difference ends the run and
leaves its bytes in a file, which replays when given as the argument.
"""

from __future__ import annotations

import sys
from random import Random
from typing import Self

try:
    import atheris
except ImportError:
    sys.exit(
        "fuzz.decoders needs atheris, which has wheels for CPython 3.11 to 3.13 on x86-64 Linux: "
        "pip install --group fuzz"
    )

with atheris.instrument_imports(include=["epollo.framing"]):
    from fuzz.cutting import agree


class Choices(Random):
    """Choices made by ``data``; when that is used up, always the first."""

    def __new__(cls, data: bytes) -> Self:  # noqa: ARG004 Random would take it for a seed
        return super().__new__(cls)

    def __init__(self, data: bytes) -> None:
        super().__init__(0)
        self._data = data
        self._at = 0

    def getrandbits(self, k: int, /) -> int:
        count = (k + 7) // 8
        taken = self._data[self._at : self._at + count]
        self._at += count
        return int.from_bytes(taken, "little") & (1 << k) - 1

    def random(self) -> float:
        return self.getrandbits(16) / (1 << 16)


def one(data: bytes) -> None:
    agree(Choices(data))


def main() -> None:
    atheris.Setup(sys.argv, one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
