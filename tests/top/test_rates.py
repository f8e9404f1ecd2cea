"""What `epollo top` makes of two looks at a server's figures."""

from __future__ import annotations

import math
from typing import Any

import pytest

from epollo.top.rates import LATE_SECONDS, Late, Sample, percentile, rates
from tests.control.support import figures


def sample(at: float, **by_process: Any) -> Sample:
    """The figures of processes, ``p11=...``."""
    rows = [{"pid": int(name[1:]), "figures": each} for name, each in by_process.items()]
    return Sample(at, {"workers": rows})


def test_the_first_look_tells_totals_and_no_rates() -> None:
    first = rates(None, sample(10.0, p11=figures(), p12=figures()))
    assert first.totals["messages_in"] == 20
    assert first.rate("messages_in") is None
    assert first.percentile("handler_seconds", 50) is None


def test_a_server_that_was_started_anew_counts_from_zero() -> None:
    """Also in the same process."""
    before = sample(10.0, p11=figures(since=1.0, messages_in=100))
    both = rates(before, sample(12.0, p11=figures(since=11.0, messages_in=4)))
    assert both.rate("messages_in") == 2.0


def test_counts_that_fell_have_no_percentile() -> None:
    assert percentile([1.0, 2.0], [0, -3, 1], 50) is None
    assert percentile([1.0, 2.0], [-3, 0, 5], 50) == math.inf


def test_rates_are_of_all_processes_and_of_each() -> None:
    before = sample(10.0, p11=figures(), p12=figures())
    after = sample(12.0, p11=figures(messages_in=14), p12=figures(messages_in=20))
    both = rates(before, after)
    assert both.rate("messages_in") == 7.0
    assert both.rate("messages_in", 11) == 2.0
    assert both.rate("messages_in", 99) is None


def test_a_worker_that_was_replaced_makes_no_rate_negative() -> None:
    """The new one counts from 0 on, and what the old one counted is gone with it."""
    before = sample(10.0, p11=figures(messages_in=1_000_000))
    after = sample(11.0, p12=figures(messages_in=3))
    assert rates(before, after).rate("messages_in") == 3.0


def test_a_process_that_does_not_answer_is_left_out() -> None:
    before = sample(10.0, p11=figures(), p12=figures())
    assert rates(before, sample(11.0, p11=figures(), p12=None)).rate("messages_in") == 0.0


def test_percentiles_are_of_what_was_measured_between() -> None:
    late = figures()
    late["handler_seconds"]["counts"] = [8, 102, 0]
    found = rates(sample(1.0, p1=figures()), sample(2.0, p1=late)).percentile("handler_seconds", 99)
    assert found == pytest.approx(0.001 + 0.009 * 0.99)


@pytest.mark.parametrize(
    ("counts", "percent", "value"),
    [
        ([0, 0, 0], 50, None),
        ([10, 0, 0], 50, 0.5),
        ([10, 0, 0], 100, 1.0),
        ([0, 10, 0], 50, 1.5),
        ([5, 5, 0], 50, 1.0),
        ([1, 1, 98], 99, math.inf),
    ],
)
def test_a_percentile_is_within_its_bucket(
    counts: list[int], percent: float, value: float | None
) -> None:
    assert percentile([1.0, 2.0], counts, percent) == value


def test_connections_of_a_worker_that_has_ended_are_among_the_reasons() -> None:
    """Its figures are gone, so the server's totals tell."""
    looks = []
    for at, died in ((10.0, 0), (11.0, 14)):
        connections = {**figures()["connections"], "closed": {"eof": 2, "worker_died": died}}
        workers = [{"pid": int(at), "figures": figures()}]
        looks.append(Sample(at, {"workers": workers, "totals": figures(connections=connections)}))
    late = Late()
    late.add(11.0, rates(*looks))
    assert late.reasons == {"eof": 0, "worker_died": 14, "refused: max_connections": 0}


def test_reasons_are_those_of_the_last_minute() -> None:
    late = Late()
    before, after = figures(), figures()
    after["connections"]["closed"] = {"eof": 5, "reset": 1}
    after["connections"]["refused"] = {"max_connections": 2}
    late.add(10.0, rates(sample(9.0, p1=before), sample(10.0, p1=after)))
    late.add(11.0, rates(sample(10.0, p1=after), sample(11.0, p1=after)))
    assert late.reasons == {"eof": 3, "reset": 0, "refused: max_connections": 2}
    late.add(10.5 + LATE_SECONDS, rates(None, sample(80.0, p1=after)))
    assert not any(late.reasons.values())
