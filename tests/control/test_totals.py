"""Figures of several processes, added up, and what came since an earlier look at one."""

from __future__ import annotations

import pytest

from epollo.control.totals import DIED, difference, ended, total
from tests.control.support import figures


def test_numbers_tables_and_histograms_are_added_up() -> None:
    sum_ = total(figures(since=5.0, longest_turn=2.0), figures(since=3.0, unsent=100), figures())
    assert sum_["messages_in"] == 30
    assert sum_["unsent"] == 114
    assert sum_["connections"]["closed"] == {"eof": 6, "reset": 3}
    assert sum_["handler_seconds"]["counts"] == [24, 6, 0]
    assert sum_["handler_seconds"]["sum"] == pytest.approx(0.06)
    assert sum_["since"] == 1000.0, "of the latest"
    assert sum_["longest_turn"] == 2.0
    assert total() == {}


def test_what_only_one_has_is_kept_and_nothing_is_changed() -> None:
    one, other = figures(paused={"user": 2}), figures(new=3)
    assert total(one, other)["paused"] == {"user": 2, "high_water": 1}
    assert total(one, other)["new"] == 3
    assert (one, other) == (figures(paused={"user": 2}), figures(new=3))


def test_buckets_of_another_version_go_to_the_next_bound() -> None:
    before = {"bounds": [0.0005, 0.005, 0.05], "counts": [1, 2, 3, 4], "sum": 1.0}
    found = total(figures(handler_seconds=before), figures())["handler_seconds"]
    assert found["bounds"] == [0.001, 0.01]
    assert found["counts"] == [8 + 1, 2 + 2, 3 + 4]


def test_of_an_ended_process_its_counts_are_left() -> None:
    found = ended(figures())
    assert found["messages_in"] == 10
    assert found["pauses"] == {"high_water": 3}
    assert [found[name] for name in ("unsent", "memory", "in_flight", "longest_turn")] == [0] * 4
    assert found["paused"] == {"high_water": 0}
    connections = found["connections"]
    assert connections["open"] == 0
    assert connections["closed"] == {"eof": 2, "reset": 1, DIED: 2}
    assert connections["accepted"] == sum(connections["closed"].values())
    assert ended(found) == found


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
