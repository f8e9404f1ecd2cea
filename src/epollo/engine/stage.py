"""Where in its life a connection is."""

from __future__ import annotations

from enum import Enum, auto


class Stage(Enum):
    """Where in its life a connection is. It only ever moves down this list."""

    CONNECTING = auto()
    OPEN = auto()
    LINGERING = auto()
    CLOSED = auto()
