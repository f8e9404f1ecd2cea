"""A loop within another one."""

from __future__ import annotations

import time
from itertools import pairwise

import pytest

from epollo.control.side_loop import SideLoop
from epollo.engine import EventLoop
from tests.support import DEADLINE


def _poll_until(loop: EventLoop, seen: list[int]) -> None:
    late = time.monotonic() + DEADLINE
    while not seen:
        assert time.monotonic() < late
        loop.poll(0.01)


def test_its_calls_and_timers_are_made_in_turns_of_the_other(loop: EventLoop) -> None:
    side = SideLoop(loop)
    side.begin()
    for ask in (side.loop.call_threadsafe, lambda call: side.loop.call_later(0.01, call)):
        seen: list[int] = []
        ask(lambda seen=seen: seen.append(1))  # type: ignore[misc]
        _poll_until(loop, seen)
    side.close()


def test_after_a_long_turn_the_other_has_its_time(
    loop: EventLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    side = SideLoop(loop)
    side.begin()
    turns: list[float] = []

    def work() -> None:
        turns.append(time.monotonic())
        side.loop.call_threadsafe(work)  # there is always more to do
        time.sleep(0.02)

    work()
    late = time.monotonic() + DEADLINE
    while len(turns) < 4:
        assert time.monotonic() < late
        loop.poll(0.01)
    pauses = [after - before for before, after in pairwise(turns[1:])]
    assert min(pauses) >= 5 * 0.02
    side.close()


def test_it_may_be_closed_twice_and_before_or_after_the_other(loop: EventLoop) -> None:
    side = SideLoop(loop)
    side.close()
    side.close()
    other = SideLoop(loop)
    other.begin()
    loop.close()
    other.close()
