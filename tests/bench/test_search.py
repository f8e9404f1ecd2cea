"""The search finds the edge of servers whose edge is known, and says how sure it is."""

from __future__ import annotations

import json
import math
import random
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from epollo import SettingError, UsageError
from epollo.bench import Result, Search, Workload, find_rate, recovery
from epollo.bench.cli.bench import bench
from epollo.bench.output.probes import row as line_of
from epollo.bench.results.histogram import Histogram
from epollo.bench.results.thresholds import requirement
from epollo.bench.search import Probe, why_not, wilson
from tests.bench.support import made_up
from tests.bench.terminal import terminal
from tests.support import epollo, serving

LOAD = Workload(address="127.0.0.1:1", duration=2.0)
TOLERANCE = 0.05


def made(rate: float | str | None, latency: float) -> Result:
    """A run at that rate in which each message took so many seconds; a few stand for all."""
    return made_up(lambda *_: latency * 1e9, seconds=2, per_second=100, rate=rate)


class Cliff:
    """Answers in a millisecond below its capacity, and in a second above; a part of the runs is
    wrong by chance, on either side."""

    def __init__(self, capacity: float, wrong: float = 0.0, seed: int = 1) -> None:
        self.capacity = capacity
        self.wrong = wrong
        self.chance = random.Random(seed)  # noqa: S311
        self.runs = 0

    def __call__(self, load: Workload) -> Result:
        self.runs += 1
        assert isinstance(load.rate, float)
        holds = (load.rate <= self.capacity) != (self.chance.random() < self.wrong)
        return made(load.rate, 0.001 if holds else 1.0)


# -- the edge


@pytest.mark.parametrize("capacity", [20.0, 99.0, 1000.0, 1001.0, 84_321.0, 2_000_000.0])
@pytest.mark.parametrize("start", [None, 10_000.0])
def test_a_cliff_is_found_within_the_tolerance(capacity: float, start: float | None) -> None:
    server = Cliff(capacity)
    search = find_rate(replace(LOAD, rate=start), "p99<5ms", run=server)
    assert search.rate is not None
    assert search.lowest_failed is not None
    assert search.rate <= capacity < search.lowest_failed
    assert search.lowest_failed <= search.rate * (1 + TOLERANCE)
    assert (search.held, search.runs) == (4, 4)
    assert not search.failed
    assert len(search.probes) == server.runs <= 25


def test_most_cliffs_are_found_though_runs_err() -> None:
    """One in twenty says the opposite; no single one can lead far astray."""
    found = [find_rate(LOAD, "p99<5ms", run=Cliff(84_321, 0.05, seed)).rate for seed in range(100)]
    near = [rate for rate in found if rate and abs(math.log(rate / 84_321)) < 2 * TOLERANCE]
    assert len(near) >= 90


def md1(rate: float, seconds: float) -> float:
    """The part of the waits in an M/D/1 queue with a service of 1 ms that are not over that
    (Erlang 1909; Crommelin 1932)."""
    load, steps = rate / 1000, math.floor(seconds * 1000 + 1e-9)
    terms = (
        math.exp(x) * (-x) ** k / math.factorial(k)
        for k in range(steps + 1)
        for x in [rate * (seconds - k / 1000)]
    )
    return (1 - load) * math.fsum(terms)


def queue(load: Workload) -> Result:
    """What the tester would say of such a queue (Lindley's recursion)."""
    assert isinstance(load.rate, float)
    rate, wait = load.rate, 0.0
    arrivals = random.Random(load.rate)  # noqa: S311

    def latency(*_: object) -> float:
        nonlocal wait
        wait = max(0.0, wait + 0.001 - arrivals.expovariate(rate))
        return (wait + 0.001) * 1e9

    return made_up(latency, 40, round(rate), rate=rate)


def test_the_edge_of_a_queue_is_where_theory_has_it() -> None:
    low, high = 100.0, 999.0
    while high - low > 0.1:
        middle = (low + high) / 2
        low, high = (middle, high) if md1(middle, 0.004) > 0.99 else (low, middle)
    search = find_rate(replace(LOAD, rate=300), "p99<5ms", run=queue)
    assert search.rate == pytest.approx(low, rel=2 * TOLERANCE)


def test_several_limits_have_to_hold_together() -> None:
    def run(load: Workload) -> Result:
        assert isinstance(load.rate, float)
        return made(load.rate, load.rate / 1e6)

    search = find_rate(LOAD, "p99<50ms", "mean<9ms", run=run)
    assert search.rate == pytest.approx(9000, rel=TOLERANCE)


# -- what does not count as held


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"errors": {"reset": 2, "extra": 1}}, "extra 1, reset 2"),
        ({"answered": [0]}, "no message was measured"),
        ({"response": Histogram()}, "p99 is not known"),
    ],
)
def test_a_run_with_faults_is_not_held(changes: dict[str, Any], why: str) -> None:
    assert why in why_not(replace(made(1000, 0.001), **changes), [requirement("p99<5ms")])


def test_a_limit_on_errors_says_how_many_there_may_be() -> None:
    run = replace(made(1000, 0.001), errors={"reset": 2})
    assert why_not(run, [requirement("errors<3")]) == ""
    assert "errors is 2" in why_not(run, [requirement("errors<2")])


def test_a_run_that_the_tester_did_not_keep_is_not_held_and_whose_edge_it_is_is_said() -> None:
    def run(load: Workload) -> Result:
        assert isinstance(load.rate, float)
        slip = Histogram()
        slip.record_many(1000 if load.rate < 3000 else 2_000_000, 1000)
        return replace(made(load.rate, 0.001), slip=slip)

    search = find_rate(LOAD, "p99<5ms", run=run)
    assert search.rate == pytest.approx(3000, rel=TOLERANCE)
    assert search.probes[2].why == "the tester was late: 100 % sent over 1 ms late"
    assert "the tester was late, so the server may do more" in str(search)


@pytest.mark.parametrize(
    ("arrival", "growth", "held"),
    [
        ("constant", 15, True),
        ("constant", 30, False),
        ("poisson", 30, True),
        ("poisson", 50, False),
    ],
)
def test_a_queue_that_grows_is_not_held_whatever_its_latency(
    arrival: str, growth: int, held: bool
) -> None:
    """By more than what a hundred messages sent may be off, and fewer that wait."""
    run = made(100, 0.001)
    first, last = run.seconds
    run = replace(
        run,
        workload=replace(run.workload, arrival=arrival),
        seconds=[first, replace(last, outstanding=first.outstanding + growth)],
    )
    why = why_not(run, [requirement("p99<5s")])
    assert why == ("" if held else f"the server fell behind: {growth} more outstanding at the end")


def test_a_queue_shows_in_a_window_of_a_second_too() -> None:
    run = made_up(seconds=1, per_second=400, rate=400)
    behind = [replace(second, messages=194, outstanding=206) for second in run.seconds]
    why = why_not(replace(run, seconds=behind), [requirement("p99<5s")])
    assert why == "the server fell behind: 206 more outstanding at the end"


@pytest.mark.parametrize(("sent", "tester"), [(400, False), (380, True)])
def test_a_rate_that_the_server_does_not_keep_is_not_laid_to_the_tester(
    sent: int, tester: bool
) -> None:
    """What it sent a little late was sent; only what it did not send spares the server."""
    slip = Histogram()
    slip.record_many(2_000_000, 4)
    slip.record_many(1000, sent - 4)
    run = made_up(seconds=2, per_second=200, rate=200)
    seconds = [replace(second, messages=196) for second in run.seconds]
    run = replace(run, sent=sent, seconds=seconds, slip=slip)
    assert bool(why_not(run, [requirement("p99<5s")])) == tester


# -- no answer


def test_where_even_the_lowest_rate_fails_there_is_none() -> None:
    search = find_rate(LOAD, "p99<5ms", run=Cliff(0))
    assert search.rate is None
    assert search.failed
    assert min(probe.rate for probe in search.probes) * 2 >= 10, "so many are a probe at least"
    assert str(search).startswith("FAILED: no rate found with p99<5ms at 7.81/s, the lowest tried:")
    assert json.loads(search.to_json())["rate"] is None


def test_a_tester_that_is_always_late_is_told_apart_from_a_server_that_is() -> None:
    def run(load: Workload) -> Result:
        slip = Histogram()
        slip.record_many(2_000_000, 100)
        return replace(made(load.rate, 0.010), slip=slip)

    search = find_rate(LOAD, "p99<5ms", run=run)
    assert search.rate is None
    assert str(search).endswith("; the tester was late in every run: stop other programs")


def test_a_late_tester_is_no_reason_where_a_limit_on_the_response_holds_all_the_same() -> None:
    slip = Histogram()
    slip.record_many(2_000_000, 100)
    late = replace(made(100, 0.001), slip=slip)
    assert why_not(late, [requirement("p99<5ms")]) == ""
    assert "the tester was late" in why_not(late, [requirement("service.p99<5ms")])
    assert "the tester was late" in why_not(late, [requirement("p99<1us")])


def test_ended_early_it_says_what_is_known() -> None:
    def run(load: Workload) -> Result:
        return replace(server(load), interrupted=server.runs > 3)

    server = Cliff(1e6)
    search = find_rate(LOAD, "p99<5ms", run=run)
    assert search.rate == 4000
    assert search.failed
    assert len(search.probes) == 3
    assert str(search).endswith("; ended early, as asked")


@pytest.mark.parametrize(
    ("load", "limits", "why"),
    [
        ({}, [], "find-rate: needs a limit"),
        ({}, ["p99"], "find-rate: 'p99' is not a limit"),
        ({}, ["p99==5ms"], "find-rate: 'p99==5ms' holds only by chance"),
        ({"messages": 10}, ["p99<5ms"], "messages: a search runs for a duration"),
        ({"rate": "1k..2k/5s"}, ["p99<5ms"], "rate: '1k..2k/5s': a search starts at one rate"),
        ({"depth": 2}, ["p99<5ms"], "depth: only for a closed loop"),
    ],
)
def test_what_cannot_be_searched(load: dict[str, Any], limits: list[str], why: str) -> None:
    with pytest.raises(SettingError, match=f"^{why}"):
        find_rate(replace(LOAD, **load), *limits, run=Cliff(1))


# -- how sure


def test_the_interval_is_wilsons() -> None:
    """As Newcombe has it, Statistics in Medicine 17 (1998), table I."""
    known = {(81, 263): (0.2553, 0.3662), (15, 148): (0.0624, 0.1605)}
    known |= {(0, 20): (0.0, 0.1611), (1, 29): (0.0061, 0.1718)}
    for (held, runs), interval in known.items():
        assert wilson(held, runs) == pytest.approx(interval, abs=5e-5)
    assert wilson(0, 0) == (0.0, 1.0)


def test_the_answer_in_one_line() -> None:
    search = find_rate(LOAD, "p99<5ms", run=Cliff(84_321))
    assert str(search) == (
        "highest rate with p99<5ms: 83,000/s (bracket 83,000 to 86,700; "
        "held in 4 of 4 runs: 51 % of such runs at least, 95 % sure)"
    )


def test_all_of_it_is_in_the_json() -> None:
    search = find_rate(LOAD, "p99<5ms", run=Cliff(84_321))
    document = json.loads(search.to_json())
    assert document["rate"] == search.rate
    assert document["lowest_failed"] == search.lowest_failed
    assert document["limits"] == ["p99<5ms"]
    assert (document["held"], document["runs"]) == (4, 4)
    probes = document["probes"]
    assert [probe["rate"] for probe in probes] == [probe.rate for probe in search.probes]
    assert {probe["held"] for probe in probes} == {True, False}
    for probe in probes:
        assert probe["held"] == (probe["why"] == "") == (probe["figures"]["p99<5ms"] < 0.005)
        assert Result.of_document(probe["result"]).messages == 200


# -- as it is used


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = [f"--{name}={tmp_path}/search.{name}" for name in ("json", "html")]
    load = ["-c", "2", "-d", "100ms", "--warmup", "0", *files, f"--plot={tmp_path}/search.svg"]
    with serving() as server:
        run = epollo("bench", server.address, *load, "-R", "100", "--find-rate", "rate>1m")
    assert (run.returncode, run.stderr) == (1, "")
    head, row, again, nothing, answer = run.stdout.splitlines()
    assert head.split() == ["rate", "achieved", "p50", "p99", "rate"]
    assert row.split()[0] == again.split()[0] == "100"
    assert "below 1,000,000/s" in row or "at or below 1,000,000/s" in row
    assert nothing == ""
    assert answer.startswith("FAILED: no rate found with rate>1m at 100/s, the lowest tried: ")
    assert len(json.loads((tmp_path / "search.json").read_text())["probes"]) == 2
    assert "no rate found with rate&gt;1m" in (tmp_path / "search.html").read_text()
    assert "<svg" in (tmp_path / "search.svg").read_text()


def test_ctrl_c_ends_a_search_with_what_is_known() -> None:
    load = ["-c", "2", "-d", "60s", "-R", "50", "--warmup", "0"]
    with (
        serving() as server,
        terminal("bench", server.address, *load, "--find-rate", "p99<5s") as run,
    ):
        run.wait_for(" msg/s   p50 ")
        run.process.send_signal(signal.SIGINT)
        assert run.status() == 1
        answer = run.report().splitlines()[-1]
    assert answer == "FAILED: no rate found with p99<5s; ended early, as asked"


@pytest.mark.parametrize(
    ("flags", "why"),
    [
        ("--fail-if p99>5ms", "--fail-if: not used with --find-rate"),
        ("-n 100", "--messages: --find-rate runs for --duration"),
        ("--hlog x", "--hlog: is for one run"),
        ("--csv x", "--csv: is for one run"),
    ],
)
def test_flags_that_a_search_would_not_hear(flags: str, why: str) -> None:
    with pytest.raises(UsageError, match=f"^{why}"):
        bench.main(["127.0.0.1:1", "--find-rate", "p99<5ms", *flags.split()], standalone_mode=False)


def test_pictures_show_latency_against_rate() -> None:
    panels = pytest.importorskip("epollo.bench.output.pictures.panels")
    search: Search = find_rate(LOAD, "p99<5ms", run=Cliff(84_321))
    whole = search.as_one()
    assert whole.messages == sum(probe.result.messages for probe in search.probes)
    assert whole.elapsed == whole.workload.seconds == 2.0 * len(search.probes)
    rates = [panel for panel in panels.panels([whole]) if panel.title == "Latency against rate"]
    assert len(rates) == 1


def test_figures_of_a_search_are_those_of_the_rate_found() -> None:
    """Percentiles of all its runs together would be of no rate at all."""
    panels = pytest.importorskip("epollo.bench.output.pictures.panels")
    search: Search = find_rate(LOAD, "p99<5ms", run=Cliff(84_321))
    answer = search.answer()
    assert answer.workload.rate == search.rate
    assert answer.elapsed == 2.0 * search.runs
    assert answer.response.maximum == 1_000_000, "above its capacity it takes a second"
    assert search.as_one().response.maximum == 1_000_000_000
    assert [panel.name for panel in panels.of_search(search)].count("spectrum") == 1
    assert search.scope.startswith(
        f"A search of {len(search.probes)} runs. Figures and percentiles"
    )


def test_a_search_that_found_none_shows_the_lowest_rate_tried() -> None:
    search: Search = find_rate(LOAD, "p99<5ms", run=Cliff(0))
    assert search.answer().workload.rate == min(probe.rate for probe in search.probes)
    assert "at the lowest rate tried" in search.scope


# -- a server that has not recovered


class Backlog:
    """Accepts every message, and answers them one after the other at a fixed rate, in a time of
    its own. A connection that closes does not shorten its queue."""

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self.now = 0.0
        self.begun_with: list[float] = []  # the seconds of its queue when each probe began
        self._free = 0.0  # when it has answered all

    @property
    def queue(self) -> float:
        return max(0.0, self._free - self.now)

    def probe(self, load: Workload) -> Result:
        assert isinstance(load.rate, float)
        assert load.duration is not None
        self.begun_with.append(self.queue)
        self._take(load.rate * load.duration)
        self.now += load.duration
        latency = self.queue
        self.now += min(latency, load.timeout)
        return made(load.rate, latency)

    def trial(self, load: Workload) -> Result:
        """Of one message."""
        self._take(1)
        waited = min(self.queue, load.timeout)
        self.now += waited
        return made_up(lambda *_: waited * 1e9, seconds=1, per_second=1, connections=1)

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def _take(self, messages: float) -> None:
        self._free = max(self._free, self.now) + messages / self.rate


def test_a_probe_begins_when_the_server_has_recovered_from_the_one_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server, left = Backlog(150), list[float]()
    monkeypatch.setattr(recovery, "monotonic", lambda: server.now)
    monkeypatch.setattr(recovery, "sleep", server.sleep)
    load = replace(LOAD, rate=1000.0, timeout=0.1)
    search = find_rate(
        load,
        "p99<100ms",
        run=server.probe,
        trial=server.trial,
        progress=lambda _: left.append(server.queue),
    )
    assert search.rate is not None
    assert 130 < search.rate <= 160
    assert server.begun_with == [0.0] * len(search.probes)
    assert max(left) > 1, "the next one would have begun with a queue"


def test_a_search_does_not_ask_for_processes_where_the_tester_was_hardly_busy() -> None:
    def run(load: Workload) -> Result:
        assert isinstance(load.rate, float)
        slip = Histogram()
        slip.record_many(1000 if load.rate < 3000 else 2_000_000, 1000)
        made_at = made(load.rate, 0.001 if load.rate < 3000 else 1.0)
        return replace(made_at, slip=slip, cpu=0.02 * made_at.elapsed)

    search = find_rate(LOAD, "p99<5ms", run=run)
    assert search.rate == pytest.approx(3000, rel=TOLERANCE)
    assert "--processes" not in str(search)


@pytest.mark.parametrize("limit", ["p99.9<5ms", "service.p99.99<5ms", "slip.p99.9<5ms"])
def test_a_percentile_beyond_the_sample_does_not_hold(limit: str) -> None:
    run = made_up(lambda *_: 1_000_000, seconds=2, per_second=20, rate=20, connections=2)
    assert "not known" in why_not(run, [requirement(limit)])


class Endless(BaseException):
    """The search makes more runs than any that ends."""


@pytest.mark.parametrize("tolerance", [0.0, -1.0])
def test_a_tolerance_that_no_search_can_keep_is_refused(tolerance: float) -> None:
    server = Cliff(1000)

    def run(load: Workload) -> Result:
        if server.runs > 100:
            raise Endless
        return server(load)

    with pytest.raises(UsageError, match="tolerance"):
        find_rate(LOAD, "p99<5ms", tolerance=tolerance, run=run)


@pytest.mark.parametrize(
    ("limit", "tolerance"),
    [(5, 0.05), (None, 0.05), (["p99<5ms"], 0.05), ("p99<5ms", "5%")],
    ids=["number", "none", "list", "tolerance"],
)
def test_an_invalid_limit_or_tolerance_of_a_search_is_refused(limit: Any, tolerance: Any) -> None:
    with pytest.raises(UsageError):
        find_rate(LOAD, limit, tolerance=tolerance, run=Cliff(1000))


def test_the_line_of_a_probe_without_a_message_has_no_percentiles() -> None:
    limits = [requirement("mean<5ms")]
    nothing = replace(made(1000, 0.001), response=Histogram(), answered=[0])
    assert "0 ns" not in line_of(Probe(1000, nothing, why_not(nothing, limits)), limits)
