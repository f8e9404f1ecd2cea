"""Metrics of the figures of processes."""

from __future__ import annotations

from typing import Any

from prometheus_client import CollectorRegistry, Metric, generate_latest

from epollo.metrics.families import families
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
        "longest_turn": 0.5,
        "unsent": 5,
        "buffered": 6,
        "paused": {"user": 1},
        "pauses": {"user": 2 * count},
        "in_flight": 7,
        "memory": 8,
        "descriptors": 9,
        "since": 100.0 + count,
        "slow_handlers": count,
        **changes,
    }


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
    assert 'epollo_pauses_total{cause="user",worker="2"} 4.0' in text
    assert 'epollo_longest_turn_seconds{worker="1"} 0.5' in text
    assert 'epollo_handler_seconds_bucket{le="+Inf",worker="2"} 3.0' in text
