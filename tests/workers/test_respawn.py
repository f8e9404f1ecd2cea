"""The pause before the next worker."""

from __future__ import annotations

from epollo.workers.respawn import YOUNG_SECONDS, RespawnPause


def test_the_pause_doubles_up_to_its_limit() -> None:
    pause = RespawnPause()
    assert [pause.after(0.1) for _ in range(9)] == [0, 0.5, 1, 2, 4, 8, 16, 30, 30]


def test_a_worker_that_has_lived_ends_the_pauses() -> None:
    pause = RespawnPause()
    for _ in range(5):
        pause.after(1.0)
    assert [pause.after(YOUNG_SECONDS), pause.after(1.0)] == [0, 0.5]
