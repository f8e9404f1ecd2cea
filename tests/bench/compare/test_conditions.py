"""Conditions on a difference: judged by the interval, and never passed unchecked."""

from __future__ import annotations

from dataclasses import replace

import pytest

from epollo.bench.compare import conditions
from epollo.bench.compare.ratios import HIGHER, LOWER, Change, Comparison, Row, compare
from epollo.bench.results.histogram import Histogram
from epollo.errors import LimitError
from tests.bench.support import exponential, made_up


def comparison(low: float, high: float) -> Comparison:
    """Of one figure, p99, with that interval."""
    verdict = HIGHER if low > 1 else LOWER if high < 1 else "no difference shown"
    change = Change((low + high) / 2, low, high, verdict)
    return Comparison(["A", "B"], [Row("p99", "s", LOWER, [0.001, 0.002], [change])], [])


def words(text: str, found: Comparison) -> list[str]:
    return [why for _, why in conditions.parse(text).broken(found, "a.json")]


@pytest.mark.parametrize(
    ("text", "low", "high", "fails"),
    [
        ("p99 higher", 1.01, 1.2, True),
        ("p99 higher", 0.99, 3.0, False),
        ("p99 higher", 0.5, 0.9, False),
        ("p99 higher", 1.0, 1.0, False),
        ("p99 higher", 1.01, float("inf"), True),
        ("p99 lower", 0.5, 0.99, True),
        ("p99 lower", 0.5, 1.01, False),
        ("p99 lower", 1.1, 1.2, False),
        ("p99 higher by 5%", 1.04, 1.5, False),
        ("p99 higher by 5%", 1.051, 1.5, True),
        ("p99 lower by 5%", 0.5, 0.96, False),
        ("p99 lower by 5%", 0.5, 0.949, True),
        (" p99.0  higher  by 200 % ", 3.1, 4.0, True),
        (" p99  higher  by 200% ", 2.9, 4.0, False),
        ("p99 lower by 99.9%", 0.01, 0.1, False),
    ],
)
def test_the_whole_interval_has_to_be_beyond(
    text: str, low: float, high: float, fails: bool
) -> None:
    assert bool(words(text, comparison(low, high))) == fails


def test_one_line_names_the_figure_the_ratio_and_the_interval() -> None:
    assert words("p99 higher by 5%", comparison(1.5, 2.5)) == [
        "p99 is 2 ms, higher: 2.000 times the 1 ms of a.json, interval 1.500 to 2.500, "
        "all of it beyond 1.05 (p99 higher by 5%)"
    ]
    assert words("p99 lower", comparison(0.2, 0.4)) == [
        "p99 is 2 ms, lower: 0.300 times the 1 ms of a.json, interval 0.200 to 0.400 (p99 lower)"
    ]


def test_what_cannot_be_compared_fails_with_the_reason_and_a_fix() -> None:
    short, long = made_up(seconds=3), made_up(seconds=12)
    assert words("p99 higher", compare([long, short])) == [
        "p99 cannot be compared: too short; run at least 10s, or compare directories of repeats "
        "(p99 higher)"
    ]
    assert words("max lower", compare([long, long])) == [
        "max cannot be compared: it is one message of each run; compare directories of repeats "
        "(max lower)"
    ]
    few = made_up(seconds=12, per_second=10, connections=1)
    assert words("p99 higher", compare([few, few])) == [
        "p99 cannot be compared: too few messages are above it; run longer, or use a lower "
        "percentile (p99 higher)"
    ]


def test_a_run_that_measured_nothing_does_not_pass() -> None:
    run = made_up(seconds=12)
    nothing = Histogram()
    seconds = [
        replace(second, messages=0, response=nothing, service=nothing) for second in run.seconds
    ]
    dead = replace(run, response=nothing, service=nothing, seconds=seconds, answered=[0])
    for text in ("rate lower", "mean higher", "p99 higher"):
        for sides in ([run, dead], [[run] * 3, [dead]]):
            assert "cannot be compared: nothing was measured" in words(text, compare(sides))[0]


def test_no_errors_on_either_side_are_not_more_errors() -> None:
    run = made_up(seconds=12)
    assert words("errors higher", compare([run, run])) == []


def test_each_side_is_judged_against_the_first() -> None:
    fast, slow = made_up(seconds=12, per_second=200), made_up(exponential(400_000), 12, 200)
    found = list(conditions.parse("p50 higher").broken(compare([fast, slow, fast]), "a.json"))
    assert [side for side, _ in found] == [1]


def test_any_percentile_may_be_compared() -> None:
    run, slow = made_up(seconds=12), made_up(exponential(400_000), 12)
    condition = conditions.parse("p75 higher")
    assert condition.percent == 75.0
    found = compare([run, slow], percents=[75.0])
    assert [row.name for row in found.rows][2:5] == ["p50", "p75", "p90"]
    assert list(condition.broken(found, "a.json"))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("p99 higher by 5", "is not a condition; write one such as 'p99 higher' or"),
        ("p99 higher 5%", "is not a condition"),
        ("p99 higher than 5%", "is not a condition"),
        ("p99 is higher", "is not a condition"),
        ("p99 Higher", "is not a condition"),
        ("higher", "is not a condition"),
        ("throughput lower", "'throughput' is not compared; did you mean rate?"),
        ("p100 higher", "'p100' is not compared; did you mean max?"),
        ("eror higher", "'eror' is not compared; did you mean errors?"),
        ("service.p99 higher", "'service.p99' is not compared; use p99, mean, max, rate or errors"),
        ("p0 lower", "'p0' is not compared"),
        ("p101 higher", "'p101' is not compared"),
        ("p99 higher by x%", "'x' is not a number such as 0.5"),
        ("p99 higher by -5%", "'-5' is not a number"),
        ("rate lower by 100%", "nothing is lower by 100 %; write less"),
    ],
)
def test_what_is_no_condition_is_an_error_that_says_what_would_do(text: str, why: str) -> None:
    assert conditions.is_condition(text)
    with pytest.raises(LimitError) as caught:
        conditions.parse(text)
    assert str(caught.value).startswith("fail-if: ")
    assert why in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["p99>5ms", "errors>0", "p99>1.2*higher.json", "p99 worse"])
def test_a_limit_is_no_condition(text: str) -> None:
    assert not conditions.is_condition(text)
