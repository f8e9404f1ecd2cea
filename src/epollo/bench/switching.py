"""The interpreter's switch interval while a thread works next to a run."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

_SECONDS = 0.0002


@contextmanager
def switching_often() -> Iterator[None]:
    """Until the end of the block, a thread that computes gives the interpreter back within a
    fraction of a millisecond; it would delay messages of the run by 5 ms otherwise."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(min(before, _SECONDS))
    try:
        yield
    finally:
        sys.setswitchinterval(before)
