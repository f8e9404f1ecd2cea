"""Which runs may be compared: what makes a load another one, and what does not."""

from __future__ import annotations

from typing import Any

import pytest

from epollo.bench.results.loads import incomparable
from epollo.bench.workload import Workload

ADDRESS = "127.0.0.1:8091"


def words(one: dict[str, Any], other: dict[str, Any]) -> str:
    return incomparable(Workload(address=ADDRESS, **one), Workload(address=ADDRESS, **other))


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ({}, {"connections": 7}, "connections 7 instead of 100"),
        ({}, {"depth": 4, "framing": "line"}, "depth 4 instead of 1, framing line instead of u32"),
        ({"rate": "1k"}, {"rate": "2k"}, "rate 2k instead of 1k"),
        ({"rate": "1k"}, {}, "rate none instead of 1k"),
        ({"rate": 9}, {"rate": 9, "arrival": "poisson"}, "arrival poisson instead of constant"),
        ({}, {"size": "64..1KiB"}, "size 64..1KiB instead of 64"),
        ({}, {"template": "{number}"}, "template {number} instead of none"),
        ({}, {"payload": "a.bin"}, "payload a.bin instead of none"),
        ({"tls": True}, {}, "tls no instead of yes"),
        ({}, {"think": 0.5}, "think 0.5 instead of 0"),
        ({}, {"reconnect_every": 1}, "reconnect_every 1 instead of none"),
        ({}, {"expect": "any"}, "expect any instead of echo"),
        ({}, {"proxy_header": "v2"}, "proxy_header v2 instead of none"),
        ({}, {"processes": 2}, "processes 2 instead of 1"),
        ({}, {"engine": "python"}, "engine python instead of auto"),
    ],
)
def test_another_load_is_named_with_both_values(
    one: dict[str, Any], other: dict[str, Any], expected: str
) -> None:
    assert words(one, other) == expected
    assert words(other, one)
    assert words(one, one) == words(other, other) == ""


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"rate": "1k"}, {"rate": 1000.0}),
        ({"size": "64"}, {"size": 64}),
        ({"seed": 1}, {"seed": 2}),
        ({"duration": 12.0}, {"duration": 20.0, "messages": 600}),
        ({"warmup": 1.0, "timeout": 5.0}, {"warmup": 2.0, "timeout": 9.0}),
        ({"tls_ca": "/here/ca.pem"}, {"tls_ca": "/there/ca.pem"}),
    ],
)
def test_what_may_differ_between_runs_of_the_same_load(
    one: dict[str, Any], other: dict[str, Any]
) -> None:
    assert words(one, other) == ""


def test_another_server_is_what_is_compared() -> None:
    assert incomparable(Workload(address=ADDRESS), Workload(address="unix:/tmp/other")) == ""
