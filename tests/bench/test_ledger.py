"""The seconds of a run: each as long as a rate needs, and nothing of the window left out."""

from __future__ import annotations

import random
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest

from epollo.bench.run.backends import room_of
from epollo.bench.run.metrics import SECOND
from epollo.engine import available

BEGIN = 1000 * SECOND


@pytest.fixture(params=available())
def tally(request: pytest.FixtureRequest) -> Any:
    """That of a closed loop, whose window is open."""
    return new_tally(request.param, None)


def new_tally(engine: str, due: Callable[[float], float] | None) -> Any:
    tally = room_of(engine).tally(None, due, lambda: None)
    tally.open_window(BEGIN, None)
    return tally


def end(tally: Any, seconds: float, every: float = 0.25) -> None:
    """Let a message be given up ``every`` so many seconds, to the end."""
    for n in range(round(seconds / every)):
        due = BEGIN + round(n * every * SECOND)
        tally.roll(due)
        tally.give_up("unanswered", due, due, SECOND)
    tally.finish(BEGIN + round(seconds * SECOND))
    tally.close()


@pytest.mark.parametrize(
    ("seconds", "lengths"),
    [
        (0.000_01, [0.000_01]),
        (1.000_01, [1.000_01]),
        (2.499, [1.0, 1.499]),
        (2.5, [1.0, 1.0, 0.5]),
        (3.0, [1.0, 1.0, 1.0]),
    ],
)
def test_a_short_rest_goes_with_the_second_before(
    tally: Any, seconds: float, lengths: list[float]
) -> None:
    end(tally, seconds)
    assert [second.seconds for second in tally.seconds] == pytest.approx(lengths)
    assert [second.start for second in tally.seconds] == [float(n) for n in range(len(lengths))]


def test_what_a_short_rest_counts_is_not_lost(tally: Any) -> None:
    end(tally, 2.3, every=0.1)
    first, last = tally.seconds
    assert (first.errors, last.errors) == (10, 13)
    assert (first.response.total, last.response.total) == (10, 13)


@pytest.mark.parametrize("engine", available())
def test_the_target_of_a_longer_second_is_the_average_of_its_plan(engine: str) -> None:
    tally = new_tally(engine, lambda seconds: 100 * seconds * seconds)  # a ramp: 200 t a second
    end(tally, 2.4)
    due = [100 * 1.0**2, 100 * (2.4**2 - 1.0**2)]
    lengths = [1.0, 1.4]
    targets = [count / length for count, length in zip(due, lengths, strict=True)]
    assert [second.target for second in tally.seconds] == pytest.approx(targets)


@pytest.mark.parametrize("engine", available())
def test_one_given_up_is_in_the_second_that_it_was_due_in(engine: str) -> None:
    """Though nothing has closed that second as yet: it may have been never sent at all."""
    tally = new_tally(engine, lambda seconds: seconds)
    for number in range(3):
        tally.give_up("unsent", due := BEGIN + number * SECOND, due, SECOND)
    tally.give_up("unsent", BEGIN - 1, BEGIN - 1, SECOND)  # of the warm-up
    tally.sent = 1
    tally.finish(BEGIN + 3 * SECOND)
    tally.close()
    assert [second.response.total for second in tally.seconds] == [1, 1, 1]
    assert [second.service.total for second in tally.seconds] == [1, 1, 1]
    assert tally.errors == {"unsent": 3, "in_warmup": 1}


# -- a run of days

SECONDS = 20  # of the run, while memory is looked at
KEPT = 512  # bytes of each, at most: 42 MiB a day


@pytest.mark.xfail(
    strict=True,
    raises=AssertionError,
    reason="every second of a run stays in memory with its histograms: gigabytes a day",
)
@pytest.mark.parametrize("due", [None, lambda seconds: 500 * seconds], ids=["closed", "open"])
@pytest.mark.parametrize("engine", available())
def test_memory_stays_flat_however_long_a_run_lasts(
    engine: str, due: Callable[[float], float] | None
) -> None:
    tally, chance = new_tally(engine, due), random.Random(1)  # noqa: S311

    def run(first: int, last: int) -> None:
        for number in range(first, last):
            for at in range(BEGIN + number * SECOND, BEGIN + (number + 1) * SECOND, SECOND // 500):
                tally.roll(at)
                tally.record(at, at + 1000, at + round(chance.expovariate(1 / 300_000)))

    run(0, 5)
    tracemalloc.start()
    try:
        run(5, 5 + SECONDS)
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept / SECONDS <= KEPT
