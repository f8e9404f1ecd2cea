"""The seconds of a run: each as long as a rate needs, and nothing of the window left out."""

from __future__ import annotations

import random
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest

from epollo.bench.run.backends import backend_of
from epollo.bench.run.metrics import SECOND
from epollo.engine import available

BEGIN = 1000 * SECOND


@pytest.fixture(params=available())
def counters(request: pytest.FixtureRequest) -> Any:
    """The counters of a closed loop whose window is open."""
    return new_counters(request.param, None)


def new_counters(engine: str, due: Callable[[float], float] | None) -> Any:
    counters = backend_of(engine).counters(None, due, lambda: None)
    counters.open_window(BEGIN, None)
    return counters


def end(counters: Any, seconds: float, every: float = 0.25) -> None:
    """Give up a message every ``every`` seconds, to the end."""
    for n in range(round(seconds / every)):
        due = BEGIN + round(n * every * SECOND)
        counters.roll(due)
        counters.give_up("unanswered", due, due, SECOND)
    counters.finish(BEGIN + round(seconds * SECOND))
    counters.close()


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
def test_a_short_last_second_is_joined_with_the_one_before(
    counters: Any, seconds: float, lengths: list[float]
) -> None:
    end(counters, seconds)
    assert [second.seconds for second in counters.seconds] == pytest.approx(lengths)
    assert [second.start for second in counters.seconds] == [float(n) for n in range(len(lengths))]


def test_the_counts_of_a_short_last_second_are_not_lost(counters: Any) -> None:
    end(counters, 2.3, every=0.1)
    first, last = counters.seconds
    assert (first.errors, last.errors) == (10, 13)
    assert (first.response.total, last.response.total) == (10, 13)


@pytest.mark.parametrize("engine", available())
def test_the_target_of_a_longer_second_is_the_average_of_its_schedule(engine: str) -> None:
    counters = new_counters(
        engine, lambda seconds: 100 * seconds * seconds
    )  # a ramp: 200 t a second
    end(counters, 2.4)
    due = [100 * 1.0**2, 100 * (2.4**2 - 1.0**2)]
    lengths = [1.0, 1.4]
    targets = [count / length for count, length in zip(due, lengths, strict=True)]
    assert [second.target for second in counters.seconds] == pytest.approx(targets)


@pytest.mark.parametrize("engine", available())
def test_a_message_given_up_is_in_the_second_in_which_it_was_due(engine: str) -> None:
    """Even if no later message has closed that second, because none was sent."""
    counters = new_counters(engine, lambda seconds: seconds)
    for number in range(3):
        counters.give_up("unsent", due := BEGIN + number * SECOND, due, SECOND)
    counters.give_up("unsent", BEGIN - 1, BEGIN - 1, SECOND)  # of the warm-up
    counters.sent = 1
    counters.finish(BEGIN + 3 * SECOND)
    counters.close()
    assert [second.response.total for second in counters.seconds] == [1, 1, 1]
    assert [second.service.total for second in counters.seconds] == [1, 1, 1]
    assert counters.errors == {"unsent": 3, "in_warmup": 1}


# -- a run of days

SECONDS = 60  # of the run, while memory is looked at
KEPT = 512  # bytes of each, at most: 42 MiB a day


@pytest.mark.parametrize("due", [None, lambda seconds: 500 * seconds], ids=["closed", "open"])
@pytest.mark.parametrize("engine", available())
def test_memory_stays_flat_however_long_a_run_lasts(
    engine: str, due: Callable[[float], float] | None
) -> None:
    counters, chance = new_counters(engine, due), random.Random(1)  # noqa: S311

    def run(first: int, last: int) -> None:
        for number in range(first, last):
            for at in range(BEGIN + number * SECOND, BEGIN + (number + 1) * SECOND, SECOND // 500):
                counters.roll(at)
                counters.record(at, at + 1000, at + round(chance.expovariate(1 / 300_000)))

    run(0, 5)
    tracemalloc.start()
    try:
        run(5, 5 + SECONDS)
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept / SECONDS <= KEPT
