"""Whose response times they are: a late reader, a busy machine and a slow server are told apart.

The verdict weighs what the machine did in the run, so it is repeated where that was busy with other
work; `tests/bench/test_culprit.py` has what holds on any machine.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from epollo import Connection, Server
from epollo.bench import Result, Workload, run
from epollo.bench.output.text import render
from epollo.bench.results.culprit import Culprit
from epollo.bench.results.verdict import Verdict
from tests.support import DEADLINE, serving

MS = 1_000_000
LATE = 0.05  # seconds
DURATION = 3  # seconds of a run
HOG = f"import time\nend = time.monotonic() + {DURATION + 1}\nwhile time.monotonic() < end: pass"
TRIES = 4


async def slow(message: bytes, connection: Connection) -> bytes:
    await asyncio.sleep(LATE)
    return message


@contextmanager
def bench(address: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """``epollo bench`` for `DURATION`, in a process of its own."""
    command = [sys.executable, "-m", "epollo", "bench", address, *arguments]
    command += ["--duration", f"{DURATION}s", "--warmup", "200ms", "--json", "-"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def result_of(process: subprocess.Popen[str]) -> Result:
    out, _ = process.communicate(timeout=DEADLINE)
    return Result.from_json(out)


def measured(address: str, *arguments: str) -> Result:
    with bench(address, *arguments) as process:
        return result_of(process)


def measured_beside_others(address: str, *arguments: str) -> Result:
    """The same of a delay of 50 ms, on a machine that may be busy with other work: a run in which
    that took more is made again."""
    for _ in range(TRIES):
        result = measured(address, *arguments)
        if not is_overwhelmed(result):
            break
    return result


def is_overwhelmed(result: Result) -> bool:
    """Did other programs take about as much time as the delay? Then the machine may be named."""
    return result.culprit is Culprit.MACHINE and result.response.mean > 1.5 * LATE * 1e9


def told(result: Result) -> str:
    """What a failed assertion shows."""
    delays = result.delays
    assert delays is not None
    means = [getattr(delays, name).mean / MS for name in ("waits", "reads", "sends", "lags")]
    cores = (delays.server_without_core, delays.server_starved, delays.pressure)
    return f"{Verdict.of(result)} | {result.shares} {means} {cores}"


@pytest.mark.parametrize("connections", ["1", "4"])
def test_a_reader_whose_check_takes_50_ms_is_named(tester: str, connections: str) -> None:
    with Server(lambda message: message, "127.0.0.1:0") as server:
        expect = ["--expect", "tests.bench.reply_checks:same_after_50_ms"]
        result = measured(server.addresses[0], *expect, "-c", connections, "--engine", tester)
    assert result.culprit is Culprit.READER, told(result)
    assert "the reader was late: the tester took " in str(Verdict.of(result))
    assert "a function of --expect or --match took long" in str(Verdict.of(result))


@pytest.mark.parametrize(
    "load", [["-c", "2"], ["-c", "2", "--rate", "200"]], ids=["closed", "open"]
)
def test_a_reader_that_is_stopped_for_50_ms_is_named(tester: str, load: list[str]) -> None:
    with Server(lambda message: message, "127.0.0.1:0") as server:
        for _ in range(TRIES):
            result = measured_while_stopped(server.addresses[0], *load, "--engine", tester)
            if result.culprit is Culprit.READER or not is_crowded(result):
                break
    assert result.culprit is Culprit.READER, told(result)
    assert "; the reader was late: the tester " in f"; {Verdict.of(result)}"
    assert result.delays is not None
    assert result.delays.lags.maximum > 0.9 * LATE * 1e9


def measured_while_stopped(address: str, *arguments: str) -> Result:
    """The same of a tester that is stopped for 50 ms again and again."""
    with bench(address, *arguments) as process:
        while process.poll() is None:
            os.kill(process.pid, signal.SIGSTOP)
            time.sleep(LATE)
            os.kill(process.pid, signal.SIGCONT)
            time.sleep(LATE / 3)
        return result_of(process)


def is_crowded(result: Result) -> bool:
    """Did some program wait for a core in most of the run? Then the server's replies may be what
    took longest, as the tester seldom runs between its stops."""
    assert result.delays is not None
    return result.delays.pressure is None or result.delays.pressure > 0.5


@pytest.mark.skipif(sys.platform != "linux", reason="binds processes to a core")
@pytest.mark.parametrize("load", [[], ["--rate", "100"]], ids=["closed", "open"])
def test_a_machine_that_is_busy_with_other_work_is_named(tester: str, load: list[str]) -> None:
    under_load = threading.Event()

    def echo(message: bytes) -> bytes:
        under_load.set()
        return message

    with (
        on_one_core(),
        Server(echo, "127.0.0.1:0") as server,
        bench(server.addresses[0], "-c", "4", "--engine", tester, *load) as process,
    ):
        assert under_load.wait(DEADLINE)
        yield_to_others(process.pid)
        with hogs():
            result = result_of(process)
    assert result.culprit is Culprit.MACHINE, told(result)
    assert "the machine was busy: " in str(Verdict.of(result))
    assert ": stop other programs" in str(Verdict.of(result))


def yield_to_others(pid: int) -> None:
    """A process that sleeps most of the time gets the core at once when it wakes up, however many
    others there are; unless it is nice to them."""
    for thread in Path(f"/proc/{pid}/task").iterdir():
        os.setpriority(os.PRIO_PROCESS, int(thread.name), 10)


@contextmanager
def hogs() -> Iterator[None]:
    """Four programs that are busy for as long as a run takes."""
    processes = [subprocess.Popen([sys.executable, "-S", "-c", HOG]) for _ in range(4)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


@contextmanager
def on_one_core() -> Iterator[None]:
    """What is started from now on runs on one core."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@pytest.mark.parametrize("load", [["-c", "1"], ["-c", "20"], ["-c", "4", "--rate", "50"]])
def test_a_server_that_takes_50_ms_is_named(tester: str, load: list[str]) -> None:
    with Server(slow, "127.0.0.1:0", in_flight=100, loop="asyncio") as server:
        flags = [*load, "--engine", tester, "--floor"]
        result = measured_beside_others(server.addresses[0], *flags)
    if is_overwhelmed(result):
        pytest.skip(f"other programs took more than the server: {told(result)}")
    assert result.culprit is Culprit.SERVER, told(result)
    assert "the server was slow: " in str(Verdict.of(result))
    assert "of the response time passed before the replies arrived; the tester's own floor is " in (
        str(Verdict.of(result))
    )


def test_a_slow_server_on_a_unix_socket_is_named_without_stamps(
    tester: str, tmp_path: Path
) -> None:
    with Server(slow, f"unix:{tmp_path}/slow", in_flight=100, loop="asyncio") as server:
        result = measured_beside_others(server.addresses[0], "-c", "4", "--engine", tester)
    if is_overwhelmed(result):
        pytest.skip(f"other programs took more than the server: {told(result)}")
    assert result.delays is not None
    assert result.delays.reads.total == 0
    assert result.culprit is Culprit.SERVER, told(result)
    assert "arrived, by the tester's timers" in str(Verdict.of(result))
    assert "not known: no receive stamps" in render(Verdict.of(result))


def test_a_late_reader_on_a_unix_socket_is_named_without_stamps(
    tester: str, tmp_path: Path
) -> None:
    with Server(lambda message: message, f"unix:{tmp_path}/quick") as server:
        expect = ["--expect", "tests.bench.reply_checks:same_after_50_ms"]
        result = measured(server.addresses[0], *expect, "-c", "4", "--engine", tester)
    assert result.culprit is Culprit.READER, told(result)


def test_nobody_is_named_if_nothing_is_slow(tester: str) -> None:
    """Nobody but the machine, if it is busy with something else just now."""
    with serving() as server:
        result = measured(server.address, "-c", "1", "--engine", tester)
    assert result.shares is not None
    busy = result.shares.machine > 0.2
    assert result.culprit in (Culprit.NONE, Culprit.MACHINE) or busy, told(result)
    if result.culprit is Culprit.NONE:
        assert str(Verdict.of(result)).startswith("every reply came, ")


def test_each_of_several_processes_samples(tester: str) -> None:
    with Server(slow, "127.0.0.1:0", in_flight=100, loop="asyncio") as server:
        one, two = (
            run(
                Workload(
                    address=server.addresses[0],
                    connections=4,
                    duration=1.0,
                    warmup=0.1,
                    processes=processes,
                    engine=tester,
                )
            )
            for processes in (1, 2)
        )
    assert one.delays is not None
    assert two.delays is not None
    assert two.delays.lags.total > 1.5 * one.delays.lags.total
    assert two.culprit is Culprit.SERVER or is_overwhelmed(two), told(two)
