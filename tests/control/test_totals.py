"""Figures of several processes, added up, and what came since an earlier look at one."""

from __future__ import annotations

from epollo.control.totals import difference, total
from tests.control.support import figures


def test_numbers_tables_and_histograms_are_added_up() -> None:
    one, other = figures(since=5.0), figures(since=3.0, unsent=100)
    sum_ = total([one, other])
    assert sum_["messages_in"] == 20
    assert sum_["unsent"] == 107
    assert sum_["connections"]["closed"] == {"eof": 4, "reset": 2}
    assert sum_["handler_seconds"] == {"bounds": [0.001, 0.01], "counts": [16, 4, 0], "sum": 0.04}
    assert sum_["since"] == 3.0


def test_what_only_one_has_is_kept_and_nothing_is_changed() -> None:
    one, other = figures(paused={"user": 2}), figures()
    assert total([one, other])["paused"] == {"user": 2, "high_water": 1}
    assert total([one, {**other, "memory": None}])["memory"] == one["memory"]
    assert (one, other) == (figures(paused={"user": 2}), figures())
    assert total([]) == {}


def test_the_difference_is_what_was_counted_since() -> None:
    before, after = figures(), figures(messages_in=17)
    after["handler_seconds"]["counts"] = [9, 2, 5]
    change = difference(after, before)
    assert change["messages_in"] == 7
    assert change["messages_out"] == 0
    assert change["handler_seconds"]["counts"] == [1, 0, 5]
    assert change["handler_seconds"]["bounds"] == [0.001, 0.01]


def test_a_process_that_is_new_counts_from_nothing() -> None:
    assert difference(figures(), {}) == figures()
