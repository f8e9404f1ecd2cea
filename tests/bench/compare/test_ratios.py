"""Compared runs: the ratios, the verdicts, and how often these are correct."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import pytest

from epollo.bench.compare.ratios import HIGHER, LOWER, SAME, Change, Comparison, compare
from epollo.bench.compare.text import render
from epollo.bench.results.histogram import Histogram
from epollo.bench.results.result import Result
from tests.bench.simulation import Kind, agreeing
from tests.bench.support import exponential, made_up

LATENCIES = ("mean", "p50", "p90", "p99")
NAMES = ["rate", "mean", "p50", "p90", "p99", "p99.9", "max", "errors"]


def quick(mean: float = 200_000, seed: int = 1, **load: object) -> Result:
    """Twenty seconds of exponential latencies with that mean in ns."""
    return made_up(exponential(mean), **{"seconds": 20, "per_second": 200, "seed": seed} | load)  # type: ignore[arg-type]


def change(comparison: Comparison, name: str, number: int = 0) -> Change:
    return next(row for row in comparison.rows if row.name == name).changes[number]


def failing(result: Result, failures: list[int]) -> Result:
    """The same, with so many messages unanswered, second by second."""
    seconds = [
        replace(second, errors=failed)
        for second, failed in zip(result.seconds, failures, strict=True)
    ]
    return replace(result, seconds=seconds, errors={"unanswered": sum(failures)})


def test_each_figure_of_each_run_against_the_first() -> None:
    runs = [quick(seed=seed) for seed in range(3)]
    comparison = compare(runs)
    assert comparison.names == ["A", "B", "C"]
    assert [row.name for row in comparison.rows] == NAMES
    for row in comparison.rows:
        assert (len(row.values), len(row.changes)) == (3, 2)
    by_name = {row.name: row for row in comparison.rows}
    assert by_name["rate"].values == [run.rate for run in runs]
    assert by_name["p99"].values == [run.response.percentile(99) / 1e9 for run in runs]
    assert by_name["max"].values == [run.response.maximum / 1e9 for run in runs]
    assert (by_name["rate"].better, by_name["p99"].better) == (HIGHER, LOWER)


def test_a_run_does_not_differ_from_itself() -> None:
    run = quick()
    for row in compare([run, run]).rows:
        assert row.changes[0].ratio in (1.0, None)
        assert not row.changes[0].shown


def test_a_difference_is_shown_with_its_ratio_and_interval() -> None:
    comparison = compare([quick(), quick(300_000, seed=2)])
    for name in LATENCIES:
        found = change(comparison, name)
        assert found.verdict == HIGHER
        assert found.low is not None
        assert found.high is not None
        assert 1 < found.low < 1.5 < found.high
        assert found.ratio == pytest.approx(1.5, rel=0.15)
    assert change(comparison, "rate").verdict == SAME


def test_the_other_way_round_it_is_the_inverse() -> None:
    slow, fast = quick(300_000, seed=2), quick()
    there, back = compare([slow, fast]), compare([fast, slow])
    for name in LATENCIES:
        one, other = change(there, name), change(back, name)
        assert one.verdict == LOWER
        assert one.low is not None
        assert other.high is not None
        assert one.low == pytest.approx(1 / other.high)


def test_a_stall_in_one_second_shows_no_difference() -> None:
    """It is no small difference: but it was seen once."""
    stalled = quick()
    for number in range(20):
        stalled.seconds[7].response.record(500_000_000 + number)
    whole = Histogram.sum(second.response for second in stalled.seconds)
    comparison = compare([quick(seed=2), replace(stalled, response=whole)])
    found = change(comparison, "mean")
    assert found.ratio is not None
    assert found.ratio > 2
    assert found.verdict == SAME


def test_a_stall_in_every_second_is_shown() -> None:
    stalled = quick()
    for second in stalled.seconds:
        second.response.record_many(500_000_000, 4)
    whole = Histogram.sum(second.response for second in stalled.seconds)
    comparison = compare([quick(seed=2), replace(stalled, response=whole)])
    assert change(comparison, "mean").verdict == HIGHER
    assert change(comparison, "p99").verdict == HIGHER
    assert change(comparison, "p50").verdict == SAME


def test_the_maximum_of_single_runs_has_no_interval() -> None:
    found = change(compare([quick(), quick(seed=2)]), "max")
    assert (found.low, found.high) == (None, None)
    assert found.ratio is not None
    assert found.verdict == "not compared: it is one message of each run"


def test_a_percentile_of_too_few_messages_is_not_compared() -> None:
    found = change(compare([quick(), quick(seed=2)]), "p99.9")  # 4 of 4000 are above it
    assert found.low is None
    assert found.verdict == "not compared: too few messages are above it"


def test_too_few_seconds_are_not_compared() -> None:
    comparison = compare([quick(), quick(seconds=9)])
    found = change(comparison, "p50")
    assert found.ratio is not None
    assert (found.low, found.verdict) == (None, "not compared: too short")
    assert "B: too short to compare: 9 seconds; run at least 10s" in comparison.notes


def test_a_run_that_measured_nothing_is_not_compared() -> None:
    run = quick()
    empty = [replace(second, messages=0, response=Histogram()) for second in run.seconds]
    nothing = replace(run, answered=[0], response=Histogram(), seconds=empty)
    for runs in ([run, nothing], [nothing, run], [nothing, nothing]):
        found = change(compare(runs), "p50")
        assert (found.low, found.verdict) == (None, "not compared: nothing was measured")


def test_long_runs_are_compared_by_stretches() -> None:
    """None of what they measured is left out."""
    long = made_up(seconds=301, per_second=20)
    found = change(compare([long, long]), "rate")
    assert found.low is not None
    assert found.ratio == pytest.approx(1.0)
    assert change(compare([long, long]), "p90").verdict == SAME


# -- errors


def test_no_errors_at_all_are_no_difference() -> None:
    assert change(compare([quick(), quick(seed=2)]), "errors") == Change(None, None, None, SAME)


def test_one_error_is_no_difference_and_some_in_each_second_are() -> None:
    good = quick()
    one = compare([good, failing(quick(seed=2), [1, *[0] * 19])])
    assert change(one, "errors").verdict == SAME
    many = change(compare([good, failing(quick(seed=2), [2] * 20)]), "errors")
    assert (many.ratio, many.verdict) == (None, HIGHER)
    back = change(compare([failing(quick(seed=2), [2] * 20), good]), "errors")
    assert (back.ratio, back.verdict) == (0.0, LOWER)


def test_the_value_of_errors_is_the_part_of_the_messages() -> None:
    row = compare([quick(), failing(quick(seed=2), [2] * 20)]).rows[-1]
    assert row.values == [0.0, 40 / 4000]


# -- repeats


def test_repeats_are_compared_by_how_they_differ_from_each_other() -> None:
    """Each of them is steady; but they differ by more than the sides do."""
    first = [quick(mean, seed=n) for n, mean in enumerate((200_000, 260_000, 230_000))]
    other = [quick(mean, seed=9 + n) for n, mean in enumerate((270_000, 220_000, 250_000))]
    assert change(compare([first[0], other[0]]), "p50").verdict == HIGHER
    assert change(compare([first, other]), "p50").verdict == SAME


def test_repeats_that_agree_show_a_difference() -> None:
    first = [quick(seed=seed) for seed in range(3)]
    other = [quick(260_000, seed=3 + seed) for seed in range(3)]
    found = change(compare([first, other]), "p50")
    assert found.verdict == HIGHER
    assert found.ratio == pytest.approx(1.3, rel=0.1)
    assert change(compare([first, other]), "max").low is not None


def test_the_value_of_repeats_is_their_geometric_mean() -> None:
    runs = [quick(seed=seed, per_second=50 * (1 + seed)) for seed in range(3)]
    rate = compare([runs, runs[0]]).rows[0]
    assert rate.values[0] == pytest.approx(math.prod(run.rate for run in runs) ** (1 / 3))


def test_repeats_may_be_short_and_stand_beside_a_single_run() -> None:
    first = [quick(seed=seed, seconds=3) for seed in range(3)]
    found = change(compare([first, quick(400_000, seed=7, seconds=3)]), "p50")
    assert found.verdict == HIGHER


def test_errors_of_repeats_may_be_none() -> None:
    good = [quick(seed=seed) for seed in range(3)]
    bad = [failing(run, [n + 1] * 20) for n, run in enumerate(good)]
    assert change(compare([good, good]), "errors").verdict == SAME
    assert change(compare([good, bad]), "errors").verdict == HIGHER


# -- how often it is right


@pytest.mark.parametrize("memory", [0.0, 0.5])
def test_runs_that_do_not_differ_are_said_to_in_one_of_twenty(memory: float) -> None:
    """By a fixed seed; `python -m tests.bench.simulation` tries many more, and longer ones."""
    kind = Kind(seconds=30, messages=35, spread=0.1, memory=memory)
    for name, part in agreeing(kind, pairs=60, seed=1).items():
        assert part >= 0.9, name


def test_runs_that_differ_by_two_fifths_are_found_out() -> None:
    chance = random.Random(1)  # noqa: S311
    usual, slow = Kind(seconds=30, messages=100), Kind(seconds=30, messages=100, slower=1.4)
    shown = [
        change(compare([usual.run(chance), slow.run(chance)]), "p50").verdict == HIGHER
        for _ in range(10)
    ]
    assert sum(shown) >= 9


def test_a_run_in_which_nothing_was_measured_has_no_latencies() -> None:
    run = quick()
    seconds = [replace(second, messages=0, response=Histogram()) for second in run.seconds]
    nothing = replace(run, response=Histogram(), seconds=seconds, answered=[0])
    assert "  0 ns" not in render(compare([run, nothing]), ["one", "nothing"], repeated=False)
