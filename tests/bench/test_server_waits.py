"""How much of the messages' time a server spent without a processor."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import ExitStack

import pytest

from epollo.bench.run import server_waits
from epollo.bench.run.server_waits import ServerWaits

MS = 1_000_000


class Scripted(ServerWaits):
    """The waits and the clock are as told."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__([os.getpid()])
        self._now = 0
        self._wait = 0.0
        self._messages = 0
        monkeypatch.setattr(server_waits, "monotonic_ns", lambda: self._now)
        self._threads = {"1": self}  # type: ignore[dict-item]
        self.begin(0)

    def step(self, length: float, message_time: float, waited: float = 0.0) -> None:
        """All in ms."""
        self._now += round(length * MS)
        self._messages += round(message_time * MS)
        self._wait = waited * MS
        self.note(self._messages)

    def close(self) -> None:
        pass

    def _waited(self) -> float:
        return self._wait


def test_a_wait_while_all_messages_are_outstanding_is_most_of_their_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In 20 ms of a second, ten messages wait for the server, which has no processor."""
    waits = Scripted(monkeypatch)
    for _ in range(49):
        waits.step(20, message_time=0.1)
    waits.step(20, message_time=200, waited=20)
    part = waits.part()
    assert part == pytest.approx(200 / (200 + 49 * 0.1), rel=0.01)


def test_a_wait_is_a_part_of_the_time_in_which_there_was_a_message(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    waits = Scripted(monkeypatch)
    for _ in range(10):
        waits.step(20, message_time=4, waited=1)
    assert waits.part() == pytest.approx(0.25, rel=0.01)


def test_a_long_wait_began_some_moments_before_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    waits = Scripted(monkeypatch)
    for _ in range(100):  # more than are kept
        waits.step(20, message_time=20)
    for _ in range(4):
        waits.step(20, message_time=20)
    waits.step(20, message_time=20, waited=100)
    assert waits.part() == pytest.approx(100 / 2100, rel=0.01)


def test_without_messages_or_threads_it_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    idle = Scripted(monkeypatch)
    idle.step(20, message_time=0, waited=20)
    assert idle.part() is None
    nobody = ServerWaits([2**22 + 1])
    nobody.begin(0)
    nobody.note(MS)
    assert nobody.part() is None


def test_more_threads_than_are_read_are_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_waits, "_MOST_THREADS", 0)
    many = ServerWaits([os.getppid()])
    many.begin(0)
    many.note(MS)
    assert many.part() is None


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_processes_that_share_a_core_wait_for_most_of_the_time() -> None:
    program = "import os, sys\nos.sched_setaffinity(0, {int(sys.argv[1])})\nprint(flush=True)\n"
    program += "while True: pass"
    core = str(max(os.sched_getaffinity(0)))
    before = set(os.listdir("/proc/self/fd"))  # noqa: PTH208
    with ExitStack() as stack:
        hogs = []
        for _ in range(4):
            command = [sys.executable, "-S", "-c", program, core]
            hog = stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE))
            stack.callback(hog.kill)
            assert hog.stdout is not None
            hog.stdout.readline()
            hogs.append(hog.pid)
        waits = ServerWaits(hogs)
        start = time.monotonic_ns()
        waits.begin(0)
        for _ in range(25):
            time.sleep(0.02)
            waits.note(time.monotonic_ns() - start)  # one message, all the time
        part = waits.part()
    assert part is not None
    assert part > 0.5
    assert set(os.listdir("/proc/self/fd")) == before  # noqa: PTH208
