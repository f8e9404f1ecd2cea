"""Sums of the figures of processes, and what is left of one that has ended."""

from __future__ import annotations

from typing import Any

from prometheus_client import CollectorRegistry, Metric, generate_latest

from epollo.metrics.families import families
from epollo.metrics.figures import DIED, ended, total
from epollo.metrics.watched import SupervisorFigures


def _figures(count: int = 1, **changes: Any) -> dict[str, Any]:
    durations = {"bounds": [0.1, 1.0], "counts": [count, 0, 1], "sum": 0.5 * count}
    plain = dict.fromkeys(("messages_in", "messages_out", "bytes_in", "bytes_out"), count)
    return {
        "connections": {
            "accepted": 2 * count,
            "open": count,
            "refused": {"descriptors": 0},
            "closed": {"eof": count},
        },
        **plain,
        "handler_seconds": durations,
        "turn_seconds": durations,
        "unsent": 5,
        "buffered": 6,
        "paused": {"user": 1},
        "in_flight": 7,
        "memory": 8,
        "descriptors": 9,
        "since": 100.0 + count,
        "slow_handlers": count,
        **changes,
    }


def test_counts_and_buckets_are_added() -> None:
    found = total(_figures(1), _figures(2), _figures(3))
    assert found["messages_in"] == 6
    assert found["connections"]["closed"] == {"eof": 6}
    assert found["handler_seconds"] == {"bounds": [0.1, 1.0], "counts": [6, 0, 3], "sum": 3.0}
    assert found["since"] == 103.0
    assert found["memory"] == 24


def test_a_key_that_one_lacks_is_that_of_the_other() -> None:
    one = _figures(1)
    one["connections"] = {**one["connections"], "closed": {"reset": 4}}
    found = total(one, _figures(2, new=3))
    assert found["new"] == 3
    assert found["connections"]["closed"] == {"reset": 4, "eof": 2}


def test_buckets_of_another_version_go_to_the_next_bound() -> None:
    before = {"bounds": [0.05, 0.5, 5.0], "counts": [1, 2, 3, 4], "sum": 1.0}
    found = total(_figures(handler_seconds=before), _figures(0))["handler_seconds"]
    assert found["bounds"] == [0.1, 1.0]
    assert found["counts"] == [1, 2, 3 + 4 + 1]


def test_of_an_ended_process_its_counts_are_left() -> None:
    found = ended(_figures(3))
    assert found["messages_in"] == 3
    assert [found[name] for name in ("unsent", "memory", "in_flight")] == [0, 0, 0]
    assert found["paused"] == {"user": 0}
    connections = found["connections"]
    assert connections["open"] == 0
    assert connections["closed"] == {"eof": 3, DIED: 3}
    assert connections["accepted"] == sum(connections["closed"].values())
    assert ended(found) == found


def test_a_slot_of_another_version_lacks_only_what_that_lacks() -> None:
    old = _figures(1)
    del old["slow_handlers"]

    class Registered:
        def collect(self) -> Any:
            supervisor = SupervisorFigures({"serves": 1}, {"drained": 0}, {"done": 0})
            found: list[Metric] = list(families({0: old, 1: _figures(2)}, supervisor, 0))
            return found

    registry = CollectorRegistry()
    registry.register(Registered())
    text = generate_latest(registry).decode()
    assert 'epollo_slow_handlers_total{worker="2"} 2.0' in text
    assert 'epollo_slow_handlers_total{worker="1"}' not in text
    assert 'epollo_messages_received_total{worker="1"} 1.0' in text
    assert 'epollo_handler_seconds_bucket{le="+Inf",worker="2"} 3.0' in text
