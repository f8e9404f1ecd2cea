"""A result's figures, the JSON that other programs read, and runs that went on at once."""

from __future__ import annotations

import json
import tracemalloc
from dataclasses import replace
from typing import Any

import pytest

from epollo.bench import Result, Second, Workload
from epollo.bench.results.histogram import Histogram
from epollo.bench.results.result import histogram_of, merge, summary
from epollo.errors import ResultFileError
from tests.bench.support import made_up


def histogram(*values: int) -> Histogram:
    recorded = Histogram()
    for value in values:
        recorded.record(value)
    return recorded


def second(start: float = 0.0, **changes: Any) -> Second:
    fields: dict[str, Any] = {
        "start": start,
        "seconds": 1.0,
        "target": None,
        "sent": 2,
        "messages": 2,
        "errors": 0,
        "outstanding": 0,
        "response": histogram(1_000_000, 2_000_000),
        "service": histogram(1_000_000, 2_000_000),
        "slip": Histogram(),
    }
    return Second(**fields | changes)


def result(**changes: Any) -> Result:
    """Four messages in two seconds over two connections: one unanswered, one wrong."""
    latency = histogram(1_000_000, 2_000_000, 3_000_000, 5_000_000_000)
    fields: dict[str, Any] = {
        "workload": Workload(address="127.0.0.1:8091", connections=2, duration=2.0),
        "started": 1_700_000_000.0,
        "elapsed": 2.0,
        "sent": 4,
        "bytes_sent": 256,
        "bytes_received": 192,
        "response": latency,
        "service": latency,
        "slip": Histogram(),
        "answered": [1, 2],
        "connect": histogram(100_000, 200_000),
        "first_reply": histogram(1_000_000, 3_000_000),
        "seconds": [second(), second(1.0, messages=1, errors=1)],
        "errors": {"unanswered": 1},
    }
    return Result(**fields | changes)


def test_the_rate_is_that_of_right_answers_in_the_window() -> None:
    late = result(seconds=[second(), second(1.0, messages=0)])  # one came behind its end
    assert late.messages == 3
    assert late.rate == 1.0
    assert result().rate == 1.5
    assert result(elapsed=0.0).rate == 0
    assert second().rate == 2.0


def test_any_error_or_no_message_at_all_is_a_failure() -> None:
    assert result().failed
    assert not result(errors={}).failed
    assert result(errors={}, answered=[0, 0]).failed


def test_what_slipped_by_more_than_a_millisecond_is_late() -> None:
    slip = histogram(*[10_000] * 998, 2_000_000, 3_000_000)
    late = result(slip=slip)
    assert late.late == pytest.approx(0.002)
    assert not late.on_time
    assert result(slip=histogram(*[10_000] * 1000)).on_time


def test_outstanding_messages_are_their_time_over_the_window() -> None:
    assert result().concurrency == pytest.approx((1 + 2 + 3 + 5000) / 1000 / 2)


def test_a_queue_that_grows_is_outstanding_until_the_window_ends_and_not_behind_it() -> None:
    """400 a second to a server of 200: 800 wait after four seconds, and 400 on average, though the
    last of them waits for four seconds more."""
    made = made_up(lambda chance, n: (n + chance.random()) * 1e9, 4, 400, rate=400)
    seconds = [
        replace(second, messages=200, outstanding=200 * (number + 1))
        for number, second in enumerate(made.seconds)
    ]
    assert replace(made, seconds=seconds).concurrency == 400
    assert made.concurrency > 700, "what Little's law would make of it"


def test_the_target_is_that_of_the_plan() -> None:
    assert result().target is None
    ramp = made_up(seconds=4, rate="1k..2k/4s", duration=4.0)
    assert ramp.target == pytest.approx(1500)


def test_a_second_followed_by_a_rest_has_the_counts_of_both() -> None:
    first = second(target=2.0, outstanding=3)
    last = second(1.0, seconds=0.25, target=4.0, sent=1, messages=1, errors=2, outstanding=1)
    both = first.followed_by(last)
    assert (both.start, both.seconds) == (0.0, 1.25)
    assert both.target == pytest.approx(2.4)
    assert (both.sent, both.messages, both.errors, both.outstanding) == (3, 3, 2, 1)
    assert both.response.total == 4
    assert second().followed_by(second(1.0)).target is None


def test_the_json_has_it_all_in_seconds() -> None:
    document = json.loads(result().to_json())
    response = document["response"]
    assert response["count"] == 4
    assert response["mean"] == pytest.approx(1.2515)
    assert response["deviation"] == pytest.approx(2.164, abs=0.001)
    assert (response["minimum"], response["maximum"]) == (0.001, 5.0)
    percentiles = response["percentiles"]
    assert list(percentiles) == ["50", "75", "90", "95", "99", "99.9", "99.99", "100"]
    assert percentiles["50"] == pytest.approx(0.002, rel=0.001)
    assert percentiles["100"] == 5.0
    assert (document["version"], document["messages"], document["rate"]) == (3, 3, 1.5)
    assert document["workload"]["connections"] == 2
    assert document["connections"] == {"opened": 2, "lost": 0, "answered": [1, 2]}
    assert document["errors"] == {"unanswered": 1}
    assert [each["errors"] for each in document["seconds"]] == [0, 1]


def test_a_result_read_back_is_the_same() -> None:
    before = made_up(rate="1k/5s", size="64:9,1KiB:1", source=("127.0.0.2",), errors={"reset": 1})
    before = replace(before, lost=3, cpu=1.5)
    after = Result.from_json(before.to_json())
    was, is_now = before.to_document(), after.to_document()
    for name in ("response", "service", "slip", "connect", "first_reply"):
        assert is_now[name].pop("deviation") == pytest.approx(was[name].pop("deviation"))
    assert is_now == was
    assert after.workload == before.workload
    assert (after.lost, after.cpu) == (3, 1.5)
    assert after.response.percentiles([50, 99.9]) == before.response.percentiles([50, 99.9])


def test_a_result_of_before_that_was_counted_is_read_too() -> None:
    document = made_up().to_document()
    del document["connections"]["lost"], document["cpu"]
    before = Result.of_document(document)
    assert (before.lost, before.cpu) == (0, 0.0)


@pytest.mark.parametrize("count", [1, 2, 100])
def test_times_that_are_all_alike_are_read_back_without_a_spread(count: int) -> None:
    """Where rounding made their variance negative, it had no root."""
    for value in range(300_000_001, 300_001_001, 7):
        before = Histogram()
        before.record_many(value, count)
        after = histogram_of(summary(before))
        assert after.deviation < 1
        assert after.mean == pytest.approx(value)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "not a result"),
        ("{}", "not a result"),
        ("[1]", "not a result"),
        ("[" * 100_000, "not a result"),
        ('{"version": 1}', "version 1"),
        ('{"version": "2"}', "version '2'"),
        ('{"search": 1}', "of --find-rate"),
        ('{"version": 2, "workload": {}}', "not a result"),
    ],
)
def test_what_is_no_result_is_named(text: str, why: str) -> None:
    with pytest.raises(ResultFileError, match=why):
        Result.from_json(text)


@pytest.mark.parametrize(
    "damage",
    [
        {"errors": []},
        {"connections": {"answered": ["many"]}},
        {"seconds": 5},
        {"seconds": [second().to_document() | {"seconds": "x"}]},
        {"elapsed": None},
        {"elapsed": float("nan")},
        {"sent": "4"},
        {"bytes_sent": -1},
        {"response": {**summary(histogram(1)), "mean": float("inf")}},
    ],
)
def test_a_result_with_something_else_in_a_place_is_none(damage: dict[str, Any]) -> None:
    document = json.loads(result().to_json()) | damage
    with pytest.raises(ResultFileError, match="not a result"):
        Result.from_json(json.dumps(document))


def test_the_json_of_nothing_measured_is_json_too() -> None:
    nothing = Histogram()
    empty = result(
        elapsed=0.0, response=nothing, service=nothing, answered=[0, 0], connect=nothing,
        first_reply=nothing, seconds=[], sent=0,
    )  # fmt: skip
    document = json.loads(empty.to_json())
    assert (document["rate"], document["response"]["count"], document["messages"]) == (None, 0, 0)


def test_runs_that_went_on_at_once_are_one() -> None:
    one = made_up(seconds=3, seed=1, rate=1000.0, errors={"reset": 1})
    other = made_up(seconds=2, seed=2, rate=1000.0, errors={"reset": 2, "extra": 1})
    both = merge([replace(one, lost=1, cpu=2.5), replace(other, lost=2, cpu=1.5)])
    assert (both.lost, both.cpu) == (3, 4.0)
    assert both.sent == one.sent + other.sent
    assert both.messages == one.messages + other.messages
    assert both.response.total == one.response.total + other.response.total
    assert both.errors == {"reset": 3, "extra": 1}
    assert both.answered == one.answered + other.answered
    assert [each.messages for each in both.seconds] == [2000, 2000, 1000]
    assert [each.target for each in both.seconds] == [2000.0, 2000.0, 1000.0]
    assert both.elapsed == 3.0


# -- a run of days


def taken(text: str) -> int:
    """The peak of the memory, in bytes, that reading the result takes."""
    tracemalloc.start()
    try:
        Result.from_json(text)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_reading_a_result_takes_little_memory_for_each_of_its_seconds() -> None:
    short, long = (made_up(seconds=n, per_second=100, rate=100).to_json() for n in (2, 6))
    assert (taken(long) - taken(short)) / 4 <= 32 << 10


# -- what was not measured

HISTOGRAMS = ("response", "service", "slip", "connect", "first_reply")


def nothing(**changes: Any) -> Result:
    """A run in which no connection was made."""
    empty: dict[str, Any] = dict.fromkeys(HISTOGRAMS, Histogram())
    empty |= {"elapsed": 0.0, "sent": 0, "answered": [0, 0], "seconds": []}
    return result(**empty | changes)


def zeros(value: Any) -> list[str]:
    """The names of the figures in a document that are 0, except counts."""
    if not isinstance(value, dict):
        return []
    found = [name for name, each in value.items() if each == 0.0 and name != "count"]
    return found + [name for each in value.values() for name in zeros(each)]


@pytest.mark.parametrize("name", HISTOGRAMS)
def test_the_times_of_no_message_are_null(name: str) -> None:
    document = json.loads(nothing().to_json())
    assert zeros(document[name]) == []


@pytest.mark.parametrize("name", ["rate", "concurrency", "late"])
def test_a_figure_of_a_window_that_never_was_is_null(name: str) -> None:
    assert json.loads(nothing().to_json())[name] is None


def test_a_closed_loop_has_no_slip_and_no_part_that_was_late() -> None:
    document = json.loads(result().to_json())
    assert zeros(document["slip"]) == []
    assert document["late"] is None


# -- percentiles beyond the sample


@pytest.mark.parametrize(("percent", "count"), [("99.9", 3), ("99.99", 3), ("99.99", 1000)])
def test_a_percentile_beyond_the_sample_is_told_from_one_that_is_known(
    percent: str, count: int
) -> None:
    few, many = Histogram(), Histogram()
    few.record_many(1_000_000, count)
    many.record_many(1_000_000, 10**7)
    percentiles = [summary(each)["percentiles"] for each in (few, many)]
    assert percentiles[0].get(percent) != percentiles[1][percent]
    assert percentiles[0]["50"] == percentiles[1]["50"]
