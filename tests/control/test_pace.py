"""Questions of many clients cost a bounded share of the time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from epollo.control.inquirer import Answer
from epollo.control.pace import SHARE, Pace
from epollo.engine import EventLoop
from tests.support import DEADLINE

SECONDS = 0.01


class Slow:
    """Takes its time for each question."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, float]] = []

    def ask(
        self,
        question: str,
        done: Callable[[list[Answer]], object],
        *,
        process: int | None = None,
        **arguments: Any,
    ) -> None:
        self.asked.append((question, time.monotonic()))
        time.sleep(SECONDS)
        if question == "wrong":
            raise ValueError("no such question")
        done([])


def turn(loop: EventLoop, over: Callable[[], object]) -> None:
    late = time.monotonic() + DEADLINE
    while not over():
        assert time.monotonic() < late
        loop.poll(0.01)


def test_the_first_question_is_asked_at_once_and_the_others_wait(loop: EventLoop) -> None:
    slow, told = Slow(), list[Any]()
    pace = Pace(loop, slow)
    for number in range(3):
        pace.inquirer_for(lambda: True).ask(str(number), told.append)
    assert len(told) == 1
    turn(loop, lambda: len(told) == 3)
    times = [at for _, at in slow.asked]
    assert [question for question, _ in slow.asked] == ["0", "1", "2"]
    assert min(times[1] - times[0], times[2] - times[1]) >= (1 + SHARE) * SECONDS


def test_a_client_that_has_gone_is_asked_for_no_more(loop: EventLoop) -> None:
    slow, told = Slow(), list[Any]()
    pace = Pace(loop, slow)
    there = [True]
    pace.inquirer_for(lambda: True).ask("first", told.append)
    for _ in range(1000):
        pace.inquirer_for(lambda: there[0]).ask("gone", told.append)
    pace.inquirer_for(lambda: True).ask("last", told.append)
    there[0] = False
    turn(loop, lambda: len(told) > 1)
    assert [question for question, _ in slow.asked] == ["first", "last"]


def test_a_question_that_raises_holds_up_no_other(loop: EventLoop) -> None:
    slow, told = Slow(), list[Any]()
    pace = Pace(loop, slow)
    with pytest.raises(ValueError, match="no such question"):
        pace.inquirer_for(lambda: True).ask("wrong", told.append)
    pace.inquirer_for(lambda: True).ask("right", told.append)
    turn(loop, lambda: told)
