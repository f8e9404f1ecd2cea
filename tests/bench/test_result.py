"""A result's figures, and the JSON that other programs read."""

from __future__ import annotations

import json
from typing import Any

import pytest

from epollo.bench import Result, Second, Workload
from epollo.bench.histogram import Histogram


def histogram(*values: int) -> Histogram:
    recorded = Histogram()
    for value in values:
        recorded.record(value)
    return recorded


def result(**changes: Any) -> Result:
    """Four messages in two seconds over two connections: one unanswered, one wrong."""
    fields: dict[str, Any] = {
        "workload": Workload(address="127.0.0.1:8091", connections=2, duration=2.0),
        "elapsed": 2.0,
        "latency": histogram(1_000_000, 2_000_000, 3_000_000, 5_000_000_000),
        "answered": [1, 2],
        "connect": histogram(100_000, 200_000),
        "first_reply": histogram(1_000_000, 3_000_000),
        "seconds": [Second(messages=2, p50=0.001, p99=0.002, errors=0)],
        "errors": {"unanswered": 1},
    }
    return Result(**fields | changes)


def test_the_rate_is_that_of_right_answers() -> None:
    assert result().messages == 3
    assert result().rate == 1.5
    assert result(elapsed=0.0).rate == 0


def test_any_error_or_no_message_at_all_is_a_failure() -> None:
    assert result().failed
    assert not result(errors={}).failed
    assert result(errors={}, answered=[0, 0]).failed


def test_a_second_knows_its_percentiles() -> None:
    assert Second.of(histogram(1000, 2000, 3000), 7) == Second(3, 2e-6, 3e-6, 7)
    assert Second.of(Histogram(), 0) == Second(0, 0.0, 0.0, 0)


def test_the_json_has_it_all_in_seconds() -> None:
    document = json.loads(result().to_json())
    latency = document.pop("latency")
    percentiles = latency.pop("percentiles")
    assert latency == {
        "count": 4,
        "mean": 1.2515,
        "deviation": pytest.approx(2.164, abs=0.001),
        "minimum": 0.001,
        "maximum": 5.0,
    }
    assert list(percentiles) == ["50", "75", "90", "95", "99", "99.9", "99.99", "100"]
    assert percentiles["50"] == pytest.approx(0.002, rel=0.001)
    assert percentiles["100"] == 5.0
    assert document.pop("connect")["count"] == document.pop("first_reply")["count"] == 2
    assert document == {
        "version": 1,
        "workload": {
            "address": "127.0.0.1:8091",
            "connections": 2,
            "messages": None,
            "duration": 2.0,
            "warmup": 1.0,
            "depth": 1,
            "size": 64,
            "framing": "u32",
            "timeout": 5.0,
        },
        "elapsed": 2.0,
        "messages": 3,
        "rate": 1.5,
        "connections": {"opened": 2, "slowest": 1, "fastest": 2},
        "seconds": [{"messages": 2, "p50": 0.001, "p99": 0.002, "errors": 0}],
        "errors": {"unanswered": 1},
    }


def test_the_json_of_nothing_measured_is_json_too() -> None:
    empty = result(
        elapsed=0.0,
        latency=Histogram(),
        answered=[0, 0],
        connect=Histogram(),
        first_reply=Histogram(),
        seconds=[],
    )
    document = json.loads(empty.to_json())
    assert (document["rate"], document["latency"]["count"], document["messages"]) == (0, 0, 0)
