"""Works in steps take turns, and all of their steps are made."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from epollo.control import steps
from epollo.control.steps import StepQueue
from epollo.engine import EventLoop


@pytest.fixture(autouse=True)
def _one_step_a_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps, "SECONDS", 0.0)


class Works:
    """Works whose steps are noted, each with the number of turns of ``loop`` before it."""

    def __init__(self, loop: EventLoop) -> None:
        self.made: list[tuple[str, int]] = []
        self._loop = loop
        self._turns = 0

    def new(self, name: str, count: int) -> Iterator[None]:
        for _ in range(count):
            self.made.append((name, self._turns))
            yield

    def failing(self) -> Iterator[None]:
        yield
        raise LookupError("no further step")

    def poll_until_made(self, count: int) -> None:
        while len(self.made) < count:
            self._turns += 1
            self._loop.poll()

    @property
    def order(self) -> str:
        return "".join(name for name, _ in self.made)


def test_works_take_turns(loop: EventLoop) -> None:
    """A short one that comes later does not wait for the end of a long one."""
    works, queue = Works(loop), StepQueue(loop)
    queue.add(works.new("l", 5))
    assert works.order == "l", "begun at once"
    queue.add(works.new("s", 2))
    works.poll_until_made(7)
    assert works.order == "llslsll"
    turns = [turn for _, turn in works.made]
    assert len(set(turns)) == len(turns), "one step in each turn"


def test_a_work_that_a_step_adds_waits_for_its_turn(loop: EventLoop) -> None:
    works, queue = Works(loop), StepQueue(loop)

    def adding() -> Iterator[None]:
        queue.add(works.new("b", 1))
        yield from works.new("a", 2)

    queue.add(adding())
    assert works.order == "a"
    works.poll_until_made(3)
    assert works.order == "aba"


def test_it_goes_on_after_all_was_done(loop: EventLoop) -> None:
    works, queue = Works(loop), StepQueue(loop)
    for name in "ab":
        queue.add(works.new(name, 1))
        while queue._works:
            loop.poll()
    assert works.order == "ab"


def test_a_work_that_fails_leaves_the_others(loop: EventLoop) -> None:
    told: list[BaseException] = []
    loop.on_error = lambda error, _: told.append(error)
    works, queue = Works(loop), StepQueue(loop)
    queue.add(works.failing())
    queue.add(works.new("a", 3))
    works.poll_until_made(3)
    assert [type(error) for error in told] == [LookupError]


def test_what_is_left_is_made_once_the_loop_is_closed(loop: EventLoop) -> None:
    told: list[BaseException] = []
    loop.on_error = lambda error, _: told.append(error)
    works, queue = Works(loop), StepQueue(loop)
    queue.add(works.new("a", 3))
    queue.add(works.failing())
    queue.add(works.new("b", 2))
    loop.close()
    queue.finish()
    assert works.order == "aaabb"
    assert [type(error) for error in told] == [LookupError]
