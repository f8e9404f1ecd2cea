"""Real runs that go on until they are precise."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from epollo import Server, SettingError, bench
from epollo.bench.load import goals
from epollo.bench.results import precision
from epollo.bench.results.result import Result
from epollo.bench.results.verdict import Verdict
from epollo.bench.run import open_seconds
from epollo.bench.until import UntilPrecise
from epollo.engine import available
from tests.bench.support import made_up
from tests.support import epollo_here, until

PRECISE = "rate±90%"
NEVER = "p99.99999±5%"  # too few messages in the time
MINUTE: dict[str, Any] = {"connections": 2, "rate": 50, "duration": 60.0, "warmup": 0}


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run of this process may end after three seconds, of which the first two are closed."""
    monkeypatch.setattr(precision, "_FIRST", 2)
    monkeypatch.setattr(precision, "_FEWEST", 2)
    monkeypatch.setattr(open_seconds, "COUNT", 2)
    monkeypatch.setattr(goals, "SHORTEST", 1)
    monkeypatch.setattr("epollo.bench.workload.SHORTEST", 1)


@pytest.fixture
def precise(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every figure is known precisely, however much a busy machine makes the seconds differ."""
    monkeypatch.setattr(precision.Precision, "distance", 0.0)


@pytest.mark.usefixtures("soon", "precise")
@pytest.mark.parametrize("engine", available())
def test_a_run_ends_as_soon_as_it_is_precise(engine: str) -> None:
    with Server(lambda message: message, "127.0.0.1:0") as server:
        load = MINUTE | {"address": server.addresses[0], "engine": engine, "until": PRECISE}
        result = bench.run(bench.Workload(**load))
    assert 2 < result.elapsed < 50
    assert not result.interrupted
    [rate] = result.precision
    assert rate.reached
    assert rate.value == pytest.approx(result.rate, rel=0.01)
    assert not Verdict.of(result).failed
    assert str(Verdict.of(result)).startswith("rate is ")
    assert "ended" not in str(Verdict.of(result))


@pytest.mark.usefixtures("precise")
def test_several_processes_end_together() -> None:
    with Server(lambda message: message, "127.0.0.1:0") as server:
        load = MINUTE | {"address": server.addresses[0], "until": PRECISE, "processes": 2}
        result = bench.run(bench.Workload(**load))
    assert 13 < result.elapsed < 55
    assert not result.interrupted
    assert [each.reached for each in result.precision] == [True]


@pytest.mark.usefixtures("soon")
@pytest.mark.parametrize("most", [["-d", "2s"], ["-n", "60"]], ids=["duration", "messages"])
def test_a_run_that_is_not_precise_at_its_end_has_failed(most: list[str], tmp_path: Path) -> None:
    file = tmp_path / "result.json"
    with Server(lambda message: message, "127.0.0.1:0") as server:
        load = [server.addresses[0], "-c", "2", "-R", "50", "--warmup", "0", *most]
        more = ["--until", NEVER, "--until", "mean+-5%", "--json", str(file)]
        run = epollo_here("bench", *load, *more)
    assert run.returncode == 1
    assert f", until {NEVER},mean+-5%\n" in run.stdout
    verdict = run.stdout.splitlines()[-1]
    assert f"FAILED: p99.99999 is not known: too few messages ({NEVER})" in verdict
    assert "; no errors" in verdict
    result = Result.from_json(file.read_text())
    assert not result.precision[0].reached
    shown = epollo_here("report", str(file))
    assert shown.stdout.splitlines()[-1] == verdict


@pytest.mark.usefixtures("soon")
def test_a_limit_that_is_lost_ends_it_too() -> None:
    with Server(lambda message: message, "127.0.0.1:0") as server:
        load = [server.addresses[0], "-c", "2", "-R", "50", "--warmup", "0", "-d", "60s"]
        run = epollo_here("bench", *load, "--until", NEVER, "--stop-if", "p50>1ns")
    assert run.returncode == 1
    assert "\n60 s measured" not in run.stdout
    assert "FAILED: p50 is " in run.stdout


def test_without_a_duration_a_run_lasts_ten_minutes_at_most(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[Any] = []

    def run_bench(address: str | None, load: dict[str, Any], *rest: object) -> int:
        seen.append(load.get("duration"))
        return 0

    monkeypatch.setattr("epollo.bench.cli.bench_session.run_bench", run_bench)
    epollo_here("bench", "--until", "p99±5%")
    epollo_here("bench", "--until", "p99±5%", "-n", "1m")
    epollo_here("bench", "--until", "p99±5%", "-d", "30s", "-n", "1m")
    assert seen == [600.0, None, 30.0]


def test_a_search_ends_each_run_by_itself() -> None:
    with pytest.raises(SettingError, match=r"^until: a search ends each run by itself; "):
        bench.find_rate(
            bench.Workload(address="127.0.0.1:1", rate=10, duration=30.0, until=PRECISE), "p99<5ms"
        )


class Slow:
    """A run that tells its seconds until it is stopped."""

    def __init__(self, sink: Any, seconds: int) -> None:
        self.stops: list[bool] = []
        self._sink = sink
        self._seconds = seconds
        self._stopped = threading.Event()

    def run(self) -> Result:
        result = made_up(seconds=self._seconds, rate=1000, duration=60.0, until=PRECISE)
        for second in result.seconds:
            self._sink.append(second)
        until(lambda: self._sink.append(result.seconds[-1]) or self._stopped.is_set())
        return result

    def stop(self, *, interrupted: bool = True) -> None:
        self.stops.append(interrupted)
        self._stopped.set()


@pytest.mark.parametrize("asked", [False, True], ids=["precise", "asked"])
def test_who_ended_the_run_is_told(asked: bool) -> None:
    """Those 12 seconds are too few to end it."""
    runs: list[Slow] = []

    def start(sink: Any) -> Slow:
        runs.append(Slow(sink, seconds=12 if asked else 20))
        return runs[0]

    load = bench.Workload(address="127.0.0.1:1", until=PRECISE, rate=1000, duration=60.0)
    checks: list[Any] = []
    run = UntilPrecise(load, start, checks.append)
    if asked:
        run.stop()
    run.run()
    assert runs[0].stops[0] is asked
    assert [each.figure for each in checks[0]] == ["rate"]  # after 8 seconds
