"""Keys, as they are pressed, from a terminal."""

from __future__ import annotations

import os
import select
import sys
import termios
import tty
from collections.abc import Iterator
from contextlib import contextmanager

UP, DOWN = "up", "down"
_SEQUENCES = {b"\x1b[A": UP, b"\x1b[B": DOWN, b"\x1bOA": UP, b"\x1bOB": DOWN}
_LONGEST = 32  # bytes that are read at a time


@contextmanager
def keys() -> Iterator[None]:
    """Keys are not echoed, and not kept until Return. Without a terminal nothing changes."""
    if not sys.stdin.isatty():
        yield
        return
    fd = sys.stdin.fileno()
    before = termios.tcgetattr(fd)
    tty.setcbreak(fd)
    try:
        yield
    finally:
        termios.tcsetattr(fd, termios.TCSADRAIN, before)


def pressed(seconds: float) -> list[str]:
    """The keys that come within ``seconds``, from the first one on; none if the time is over.
    Raises EOFError if the terminal is gone."""
    if not sys.stdin.isatty():
        select.select([], [], [], seconds)
        return []
    fd = sys.stdin.fileno()
    if not select.select([fd], [], [], seconds)[0]:
        return []
    data = os.read(fd, _LONGEST)
    if not data:
        raise EOFError
    return list(_named(data))


def _named(data: bytes) -> Iterator[str]:
    while data:
        sequence = next((each for each in _SEQUENCES if data.startswith(each)), data[:1])
        yield _SEQUENCES.get(sequence, sequence.decode("latin-1"))
        data = data[len(sequence) :]
