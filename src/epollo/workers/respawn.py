"""How long to wait before the place of a dead worker is filled again."""

from __future__ import annotations

YOUNG_SECONDS = 10.0
"""A worker that lives longer was not broken from the start."""

FIRST_PAUSE = 0.5  # seconds
LONGEST_PAUSE = 30.0


class RespawnPause:
    """The pause of one slot: none at first; then it doubles for each worker that dies young."""

    def __init__(self) -> None:
        self._next = 0.0

    def after(self, lifetime: float) -> float:
        """Seconds to wait after a worker that has lived for ``lifetime`` seconds."""
        if lifetime >= YOUNG_SECONDS:
            self._next = 0.0
        pause = self._next
        self._next = min(LONGEST_PAUSE, pause * 2 or FIRST_PAUSE)
        return pause
