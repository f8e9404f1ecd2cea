"""Timers: in order, once, and not at all when cancelled."""

from __future__ import annotations

import weakref
from functools import partial

from epollo.engine.timers import Timers


def fire(timers: Timers) -> None:
    for timer in timers.due():
        timer.fire()


def test_due_timers_fire_in_order_and_once() -> None:
    timers, fired = Timers(), list[str]()
    timers.add(-1, lambda: fired.append("second"))
    timers.add(-2, lambda: fired.append("first"))
    timers.add(3600, lambda: fired.append("not yet"))
    fire(timers)
    fire(timers)
    assert fired == ["first", "second"]


def test_timers_of_the_same_time_fire_in_the_order_they_were_made() -> None:
    timers, fired = Timers(lambda: 0.0), list[int]()
    for number in range(20):
        timers.add(0, partial(fired.append, number))
    fire(timers)
    assert fired == list(range(20))


def test_a_cancelled_timer_does_not_fire_and_holds_nothing() -> None:
    class Held:
        def call(self) -> None:
            raise AssertionError("fired")

    held = Held()
    timers, gone = Timers(), weakref.ref(held)
    timer = timers.add(-1, held.call)
    timer.cancel()
    del held
    assert gone() is None
    assert timer.cancelled
    fire(timers)


def test_a_timer_that_renews_itself_waits_for_the_next_turn() -> None:
    timers, fired = Timers(), list[int]()

    def renew() -> None:
        fired.append(1)
        timers.add(0, renew)

    timers.add(0, renew)
    fire(timers)
    assert fired == [1]


def test_wait_is_the_time_to_the_next_timer_or_the_timeout() -> None:
    timers = Timers()
    assert timers.wait(None) is None
    assert timers.wait(5) == 5
    timers.add(10, lambda: None).cancel()
    assert timers.wait(None) is None
    timers.add(3600, lambda: None)
    assert timers.wait(5) == 5
    assert 3590 < (timers.wait(None) or 0) <= 3600
    timers.add(-1, lambda: None)
    assert timers.wait(5) == 0


def test_cancelled_timers_do_not_pile_up_until_their_time() -> None:
    timers, fired = Timers(), list[int]()
    heap = timers.heap
    for number in range(100):
        timers.add(number - 1000, lambda number=number: fired.append(number))  # type: ignore[misc]
        for _ in range(100):
            timers.add(3600, lambda: fired.append(-1)).cancel()
            assert len(timers) <= 2 * (number + 1) + 130
    assert timers.heap is heap  # which the native loop looks at
    fire(timers)
    assert fired == list(range(100))


def test_a_timer_cancelled_after_its_time_is_not_counted_twice() -> None:
    timers = Timers()
    kept = [timers.add(3600, lambda: None) for _ in range(10)]
    due = [timers.add(-1, lambda: None) for _ in range(1000)]
    fire(timers)
    for timer in due:
        timer.cancel()
        timer.cancel()
    timers.add(1800, lambda: None).cancel()
    assert len(timers) == 11  # too few to be searched for
    assert timers.next == kept[0].when
    assert len(timers) == 10
