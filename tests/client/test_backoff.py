"""The waits between attempts to connect."""

from __future__ import annotations

import random
from itertools import islice
from typing import Any

import pytest

from epollo import Backoff, SettingError
from epollo.client.backoff import Attempts


def test_waits_double_up_to_the_most() -> None:
    waits = Backoff(first=0.5, most=3, jitter=0).waits()
    assert list(islice(waits, 6)) == [0, 0.5, 1, 2, 3, 3]


def test_attempts_bound_them() -> None:
    assert list(Backoff(attempts=1).waits()) == [0]
    assert len(list(Backoff(attempts=5).waits())) == 5


@pytest.mark.parametrize(("chance", "expected"), [(0, [0, 1, 2]), (1, [0, 0.25, 0.5])])
def test_jitter_is_the_part_left_to_chance(
    monkeypatch: pytest.MonkeyPatch, chance: float, expected: list[float]
) -> None:
    monkeypatch.setattr(random, "random", lambda: chance)
    assert list(islice(Backoff(first=1, jitter=0.75).waits(), 3)) == expected


class Clock:
    """Time that passes only in waits."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def call(
        self, attempts: Attempts, deadline: float | None = None, fails: int = 99
    ) -> list[float]:
        """The waits of one call whose first ``fails`` attempts fail."""
        waits = []
        for wait in attempts.until(None if deadline is None else self.now + deadline):
            waits.append(wait)
            self.now += wait
            attempts.begin()
            if len(waits) > fails:
                break
        return waits


@pytest.mark.parametrize(("deadline", "count"), [(0, 1), (1, 2), (3.5, 3), (None, 4)])
def test_a_deadline_ends_the_waits_but_not_the_first(deadline: float | None, count: int) -> None:
    clock = Clock()
    attempts = Attempts(Backoff(first=0.5, jitter=0, attempts=4), clock)
    assert clock.call(attempts, deadline) == [0, 0.5, 1, 2][:count]


def test_the_waits_go_on_from_call_to_call() -> None:
    clock = Clock()
    attempts = Attempts(Backoff(first=1, most=4, jitter=0), clock)
    assert clock.call(attempts, 1.5) == [0, 1]
    assert clock.call(attempts, 1.5) == []  # the next attempt is later than this call may take
    assert attempts.remaining() == 2
    clock.now += 1.5
    assert clock.call(attempts, 5) == [0.5, 4]


def test_a_connection_of_no_use_is_a_failed_attempt() -> None:
    clock = Clock()
    attempts = Attempts(Backoff(first=1, most=4, jitter=0), clock)
    for expected in (0, 1, 2, 4, 4):
        assert clock.call(attempts, fails=0) == [expected]
        attempts.ended(replied=False)


@pytest.mark.parametrize(("replied", "lived"), [(True, 0), (False, 4)])
def test_the_waits_begin_again_after_a_reply_or_a_minimum_life(replied: bool, lived: float) -> None:
    clock = Clock()
    attempts = Attempts(Backoff(first=1, most=4, jitter=0), clock)
    clock.call(attempts, fails=2)
    clock.now += lived
    attempts.ended(replied=replied)
    assert clock.call(attempts, fails=1) == [0, 1]


@pytest.mark.parametrize(
    "bad",
    [
        {"first": 0},
        {"first": -1},
        {"first": 20},
        {"first": float("nan")},
        {"first": float("inf"), "most": float("inf")},
        {"first": "1s"},
        {"first": True},
        {"most": 1e300},
        {"most": None},
        {"attempts": 0},
        {"attempts": 1.5},
        {"attempts": True},
        {"jitter": 1.5},
        {"jitter": -0.1},
        {"jitter": float("nan")},
    ],
    ids=str,
)
def test_invalid_arguments_are_setting_errors(bad: dict[str, Any]) -> None:
    with pytest.raises(SettingError, match="backoff: "):
        Backoff(**bad)
