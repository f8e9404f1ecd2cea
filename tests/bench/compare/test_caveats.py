"""What is said of runs beside their figures, and that nothing is said where nothing is amiss."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from epollo.bench.compare import caveats
from epollo.bench.compare.pieces import whole_seconds
from epollo.bench.results.result import Result
from tests.bench.support import made_up


def quick(**load: object) -> Result:
    return made_up(seconds=12, per_second=50, **load)  # type: ignore[arg-type]


def notes(*runs: Result) -> list[str]:
    return caveats.of([[run] for run in runs], "ABC"[: len(runs)])


def cold(chance: random.Random, second: int) -> float:
    """Three times as slow in the first two seconds."""
    return chance.expovariate(1 / (600_000 if second < 2 else 200_000))


def test_runs_of_the_same_load_need_no_words() -> None:
    assert notes(quick(), quick(seed=2)) == []


def test_another_address_is_what_is_compared() -> None:
    run = quick()
    elsewhere = replace(run, workload=replace(run.workload, address="unix:/tmp/other"))
    assert notes(run, elsewhere) == []


@pytest.mark.parametrize(
    ("one", "other", "line"),
    [
        ({}, {"connections": 7}, "connections 100, 7"),
        ({}, {"framing": "line", "depth": 4}, "depth 1, 4; framing u32, line"),
        ({}, {"rate": "50"}, "rate none, 50"),
        ({}, {"size": "64..1KiB"}, "size 64, 64..1KiB"),
        ({}, {"tls": True, "tls_ca": "any"}, "tls no, yes; tls_ca none, any"),
        ({}, {"source": ("127.0.0.2", "127.0.0.3")}, "source none, 127.0.0.2+127.0.0.3"),
        ({}, {"timeout": 0.5}, "timeout 5, 0.5"),
    ],
)
def test_one_line_says_what_differs(
    one: dict[str, object], other: dict[str, object], line: str
) -> None:
    assert notes(quick(**one), quick(**other)) == [f"not the same load: {line}"]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"rate": "1k"}, {"rate": 1000.0}),
        ({"size": "64"}, {"size": 64}),
        ({"seed": 1}, {"seed": 2}),
        ({"duration": 12.0}, {"duration": 20.0, "messages": 600}),
    ],
)
def test_what_is_the_same_in_other_words_does_not_differ(
    one: dict[str, object], other: dict[str, object]
) -> None:
    assert notes(quick(**one), quick(**other)) == []


def test_a_run_that_is_too_short_is_named_with_the_fix() -> None:
    assert notes(quick(), made_up(seconds=3)) == [
        "B: too short to compare: 3 seconds; run at least 10s"
    ]


def test_the_rest_of_a_run_is_no_second() -> None:
    short = made_up(seconds=10)
    last = replace(short.seconds[-1], seconds=0.1)
    assert whole_seconds(short) == 10
    assert whole_seconds(replace(short, seconds=[*short.seconds[:-1], last])) == 9


def test_repeats_may_be_short() -> None:
    repeats = [made_up(seconds=3, seed=seed) for seed in range(3)]
    assert caveats.of([repeats, repeats], "AB") == []


def test_of_repeats_the_one_is_named() -> None:
    repeats = [quick(), replace(quick(), interrupted=True)]
    assert caveats.of([repeats, repeats[:1]], "AB") == ["A, run 2: it was interrupted after 12 s"]


def test_a_cold_start_is_seen() -> None:
    assert notes(quick(), made_up(cold, seconds=12, per_second=50)) == [
        "B: its first two seconds are its slowest; run it with a longer --warmup"
    ]


def test_a_run_without_warm_up_is_named() -> None:
    assert notes(quick(), quick(warmup=0.0)) == [
        "not the same load: warmup 1, 0",
        "B: it had no warm-up, so its figures include connecting",
    ]


def test_a_tester_that_was_late_is_named() -> None:
    late = quick(rate="50")
    for _ in range(30):
        late.slip.record(2_000_000)
    assert notes(late) == [
        "A: the tester was late: 4.76% of the messages were sent over 1 ms late, so its figures "
        "include the tester's delay"
    ]


def test_a_ramp_is_named() -> None:
    ramp = "10..100/12s"
    assert notes(quick(rate=ramp), quick(rate=ramp)) == [
        f"{name}: its rate changes ({ramp}), so its seconds differ; intervals are wide"
        for name in "AB"
    ]
