"""The tester made late on purpose: it says so, and no message looks faster for it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from typing import Any

import pytest

from epollo.bench import Result
from tests.bench.truth import models
from tests.bench.truth.behaviour import SECOND, Behaviour
from tests.bench.truth.cores import leaving_the_servers_core
from tests.bench.truth.scene import Scene, check, close_to, play, serving
from tests.support import DEADLINE, stop_process

RATE = 1000
SERVICE = 0.002
WINDOW = 2.0
PAUSE = 0.3


def paused(at: float = 0.5, **load: Any) -> Scene:
    """A run in which the tester's process is stopped for PAUSE, at that second of the window."""
    behaviour = Behaviour(service=SERVICE, announced=round(RATE * at))
    with serving(behaviour) as witness:
        told = json.dumps({"address": witness.address, **load})
        with subprocess.Popen(
            [sys.executable, "-m", "tests.bench.truth.tester", told],
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            try:
                with leaving_the_servers_core():  # and first, to be in time
                    witness.wait_for_the_message()
                    pause(process.pid)
                out, _ = process.communicate(timeout=DEADLINE)
            finally:
                process.kill()
        scene = Scene(Result.from_json(out), witness.record())
    check(scene)
    return scene


def pause(process: int) -> None:
    stop_process(process)
    threading.Event().wait(PAUSE)
    os.kill(process, signal.SIGCONT)


def test_the_pause_of_the_tester_is_slip_and_is_in_the_response(tester: str) -> None:
    """As a stall of the server would be: whoever wanted to send then, had to wait."""
    load = {"connections": 10, "rate": RATE, "duration": WINDOW, "warmup": 0}
    scene = paused(engine=tester, **load)
    result = scene.result
    assert result.errors == {}
    assert result.sent == RATE * WINDOW  # the schedule was made up for, not cut
    assert not result.on_time
    assert result.late == pytest.approx(PAUSE / WINDOW, rel=0.1)
    assert result.slip.maximum >= 0.99 * (PAUSE - 1 / RATE) * SECOND
    assert result.slip.mean / SECOND == pytest.approx(PAUSE**2 / 2 / WINDOW, rel=0.1)
    for part in (0.95, 0.99):
        stall = {"service": SERVICE, "stall": PAUSE, "window": WINDOW}
        expected = models.stall_percentile(part, **stall)
        assert scene.response(part) == pytest.approx(expected, rel=0.1)
        assert scene.response(part) == pytest.approx(scene.truth(part), rel=0.05)


def test_from_the_actual_send_it_would_not_be_seen(tester: str) -> None:
    """The contrast: only the replies that came in the pause look slow, which are a few."""
    load = {"connections": 10, "rate": RATE, "duration": WINDOW, "warmup": 0}
    result = paused(engine=tester, **load).result
    assert result.service.percentile(95) < 0.1 * result.response.percentile(95)
    waiting = RATE * SERVICE  # under way when the pause began
    assert result.service.above(round(PAUSE * SECOND / 2)) * result.sent <= 3 * waiting


def test_what_was_due_before_the_end_is_sent_after_it(tester: str) -> None:
    """The pause goes on over the end. To leave out what it held up would be to measure when it
    suits: coordinated omission."""
    load = {"connections": 10, "rate": RATE, "duration": WINDOW, "warmup": 0}
    result = paused(WINDOW - PAUSE / 2, engine=tester, **load).result
    assert result.errors == {}
    assert result.sent == result.messages == RATE * WINDOW
    assert result.late == pytest.approx(PAUSE / 2 / WINDOW, rel=0.2)
    assert result.response.maximum >= 0.9 * PAUSE * SECOND
    assert result.elapsed == pytest.approx(WINDOW + PAUSE / 2, rel=0.05)


def test_a_tester_that_is_not_paused_keeps_its_schedule(tester: str) -> None:
    """Else the others would prove nothing."""
    load = {"connections": 10, "rate": RATE, "duration": 1.0, "warmup": 0.2}
    scene = play(Behaviour(service=SERVICE), engine=tester, **load)
    result = scene.result
    print(f"\nlate {100 * result.late:.3f} %", end=" ")
    assert result.late < 0.1 * PAUSE / WINDOW
    assert result.on_time == (result.late <= 0.001)
    assert result.response.percentile(95) / SECOND == close_to(SERVICE, scene)
