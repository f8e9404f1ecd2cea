"""The waits between attempts to connect."""

from __future__ import annotations

import random
from itertools import islice
from typing import Any

import pytest

from epollo import Backoff, SettingError
from epollo.client.backoff import waits_until


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


@pytest.mark.parametrize(("deadline", "count"), [(0, 1), (1, 2), (3.5, 3), (None, 4)])
def test_a_deadline_ends_the_waits_but_not_the_first(deadline: float | None, count: int) -> None:
    backoff = Backoff(first=0.5, jitter=0, attempts=4)
    waits: list[float] = []
    for wait in waits_until(backoff, deadline, lambda: sum(waits)):
        waits.append(wait)
    assert waits == [0, 0.5, 1, 2][:count]


@pytest.mark.parametrize("bad", [{"first": 0}, {"first": 20}, {"attempts": 0}, {"jitter": 1.5}])
def test_invalid_arguments_are_setting_errors(bad: dict[str, Any]) -> None:
    with pytest.raises(SettingError, match="backoff: "):
        Backoff(**bad)
