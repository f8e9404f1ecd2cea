"""The verdict: what fails a run, and the line that says so."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

from epollo.bench.output.text import render
from epollo.bench.output.wording import method
from epollo.bench.results.histogram import Histogram
from epollo.bench.results.thresholds import parse
from epollo.bench.results.verdict import Verdict
from tests.bench.support import made_up


def test_a_good_run() -> None:
    verdict = Verdict.of(made_up())
    assert not verdict.failed
    assert str(verdict) == "every reply came, in order and verified to the byte; no errors"


@pytest.mark.parametrize(
    ("expect", "words"),
    [
        ("any", "every reply came; their content was not verified; no errors"),
        ("shop:is_receipt", "every reply came, accepted by shop:is_receipt; no errors"),
    ],
)
def test_it_claims_no_more_than_was_verified(expect: str, words: str) -> None:
    assert str(Verdict.of(made_up(expect=expect))) == words


@pytest.mark.parametrize(
    ("load", "distinct"),
    [
        ({"size": 64}, True),
        ({"size": "0..64"}, False),
        ({"size": 8, "framing": "line"}, True),
        ({"payload": __file__}, False),
        ({"template": "all alike"}, False),
        ({"template": "of {connection}"}, False),
        ({"template": "{{number}} {number}"}, True),
        ({"template": "at {time:x}"}, True),
    ],
)
def test_order_is_claimed_only_if_all_messages_are_distinct(
    load: dict[str, Any], distinct: bool
) -> None:
    claim = (
        ", in order and verified to the byte;" if distinct else "reply came, verified to the byte;"
    )
    assert claim in str(Verdict.of(made_up(**load)))


def test_an_open_loop_tells_its_rate_and_how_late_the_tester_was() -> None:
    verdict = Verdict.of(made_up(per_second=1000, rate=1000))
    assert not verdict.failed
    assert str(verdict).startswith("1,000 of 1,000 msg/s; 0 % sent over 1 ms late; every reply ")


@pytest.mark.parametrize(("late", "told"), [(5, False), (6, True)])
def test_a_tester_that_was_late_says_what_to_do(late: int, told: bool) -> None:
    """More than 0.1 % of 5000; that the tester was slow is not the server's failure."""
    slip = Histogram()
    slip.record_many(1000, 5000 - late)
    slip.record_many(2_000_000, late)
    verdict = Verdict.of(replace(made_up(rate=1000), slip=slip))
    assert not verdict.failed
    assert f"; {late / 50:.3g} % sent over 1 ms late" in str(verdict)
    assert told == ("so the tester was slow: lower --rate, add --processes, " in str(verdict))


def test_errors_fail_it_and_what_is_wrong_with_replies_is_one_number() -> None:
    errors = {"unanswered": 1200, "reset": 3, "short": 1, "wrong_bytes": 1}
    verdict = Verdict.of(made_up(errors=errors))
    assert verdict.failed
    assert str(verdict) == "FAILED: reset 3, unanswered 1,200, wrong_replies 2"


@pytest.mark.parametrize(
    ("lost", "words"), [(1, "1 connection lost"), (1200, "1,200 connections l")]
)
def test_lost_connections_are_told_though_the_limits_allow_what_they_cost(
    lost: int, words: str
) -> None:
    result = replace(made_up(errors={"unanswered": 2000}), lost=lost)
    verdict = Verdict.of(result, [parse("errors>10k")])
    assert not verdict.failed
    assert f"unanswered 2,000, which the limits allow; {words}" in str(verdict)


def test_late_messages_may_have_waited_for_a_connection() -> None:
    slip = Histogram()
    slip.record_many(2_000_000, 5000)
    verdict = Verdict.of(replace(made_up(rate=1000), slip=slip, lost=3))
    assert "late, so the tester had no connection, or was slow: lower --rate" in str(verdict)


def test_a_limit_on_errors_stands_for_none_at_all() -> None:
    verdict = Verdict.of(made_up(errors={"reset": 3}), [parse("errors>10k")])
    assert not verdict.failed
    assert str(verdict) == "reset 3, which the limits allow; 1 limit held"


def test_a_limit_on_one_kind_of_error_allows_no_other() -> None:
    errors = {"reset": 3, "unanswered": 3}
    assert Verdict.of(made_up(errors=errors), [parse("reset>10")]).fatal == {"unanswered"}
    assert not Verdict.of(made_up(errors={"reset": 3}), [parse("reset>10")]).failed
    assert Verdict.of(made_up(errors={"reset": 3}), [parse("p99>1h")]).failed


def test_a_limit_that_was_passed_fails_it_in_words() -> None:
    limits = [parse("p99>1us"), parse("rate<1"), parse("mean>1h")]
    verdict = Verdict.of(made_up(), limits)
    assert verdict.failed
    assert str(verdict).startswith("FAILED: p99 is 9")
    assert ", above 1 µs (p99>1us); every reply came, " in str(verdict)
    assert str(verdict).endswith("; no errors; 2 limits held")


@pytest.mark.parametrize(
    ("changes", "end"),
    [
        ({"elapsed": 2.0}, "; ended after 2 s, when no connection was left"),
        ({"elapsed": 2.0, "interrupted": True}, "; ended early, as asked"),
        ({"elapsed": 5.0001}, "; no errors"),
    ],
)
def test_a_run_that_was_over_before_its_time_says_why(changes: dict[str, Any], end: str) -> None:
    assert str(Verdict.of(replace(made_up(seconds=5), **changes))).endswith(end)


def test_a_run_of_messages_is_over_when_they_are_sent() -> None:
    result = made_up(seconds=5, per_second=10, messages=50, connections=5, duration=60.0)
    assert str(Verdict.of(result)).endswith("; no errors")


def test_a_run_of_messages_that_lost_its_last_connection_says_so() -> None:
    result = made_up(seconds=5, per_second=10, messages=60, connections=5, duration=None)
    assert str(Verdict.of(result)).endswith("; ended after 5 s, when no connection was left")


def test_a_run_that_measured_nothing_fails_whatever_the_limits() -> None:
    nothing = replace(made_up(), answered=[0])
    verdict = Verdict.of(nothing, [parse("errors>10k")])
    assert verdict.failed
    assert str(verdict) == "FAILED: no message was measured; 1 limit held"


@pytest.mark.parametrize(
    ("load", "cpu", "said"),
    [
        ({}, 4.8, True),
        ({}, 4.7, False),
        ({"processes": 2}, 4.8, False),
        ({"processes": 2}, 9.6, True),
        ({"rate": 1000}, 5.0, False),
    ],
)
def test_a_closed_loop_says_that_its_tester_may_limit_it(
    load: dict[str, Any], cpu: float, said: bool
) -> None:
    words = "the tester was busy for 96 % of the time, and may limit the rate: add --processes"
    assert (words in str(Verdict.of(replace(made_up(**load), cpu=cpu)))) is said


# -- the order of replies


@pytest.mark.parametrize(
    "matched",
    [
        {"expect": "any", "rate": 1000},
        {"expect": "any", "depth": 4},
        {"expect": "shop:is_receipt", "rate": 1000},
        {"payload": __file__, "rate": 1000},
        {"payload": __file__, "depth": 4},
        {"template": "all alike", "rate": 1000},
        {"size": "0..64", "rate": 1000},
    ],
    ids=["any", "any-pipelined", "function", "payload", "payload-pipelined", "template", "short"],
)
def test_it_says_where_the_order_of_replies_was_assumed(matched: dict[str, Any]) -> None:
    report = render(Verdict.of(made_up(**matched)))
    assert re.search(r"\border\b.*\bassumed\b|\bassum(ed|es)\b.*\border\b", report)


@pytest.mark.parametrize(
    ("load", "by"),
    [
        ({}, "content"),
        ({"depth": 4, "size": 8}, "content"),
        ({"depth": 4, "size": 7}, "order"),
        ({"framing": "modbus"}, "content"),
        ({"framing": "mongodb", "size": 20}, "content"),
        ({"framing": "mongodb", "size": 19}, "order"),
        ({"framing": "length(offset=10,size=4)"}, "content"),
        ({"framing": "length(offset=5,size=8)"}, "order"),
        ({"expect": "any"}, "order"),
        ({"expect": "any", "match": "bytes(0,8)"}, "identifier"),
        ({"expect": "none", "rate": 10}, "none"),
    ],
)
def test_the_json_says_how_replies_were_matched(load: dict[str, Any], by: str) -> None:
    assert made_up(**load).to_document()["matched_by"] == by


@pytest.mark.parametrize(
    "load", [{}, {"rate": 1000}, {"depth": 4}, {"expect": "any"}, {"payload": __file__}]
)
def test_it_does_not_say_so_where_no_order_was_assumed(load: dict[str, Any]) -> None:
    report = render(Verdict.of(made_up(**load))) + method(made_up(**load).workload)
    assert "assumed" not in report


def test_it_says_by_what_replies_were_matched() -> None:
    result = made_up(rate=1000, expect="any", match="bytes(0,8)")
    assert "not verified, matched by bytes(0,8); no errors" in str(Verdict.of(result))
    assert "matched to its message by an identifier, bytes(0,8)" in method(result.workload)


# -- whose fault a late send is


def late(part: float) -> Histogram:
    """The slip of 1000 messages, of which that part was sent 2 ms late."""
    slip = Histogram()
    slip.record_many(2_000_000, round(1000 * part))
    slip.record_many(1000, round(1000 * (1 - part)))
    return slip


@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize("lost", [0, 3])
def test_a_late_tester_that_was_hardly_busy_is_not_told_to_add_processes(
    processes: int, lost: int
) -> None:
    result = made_up(seconds=5, rate=1000, processes=processes)
    idle = replace(result, slip=late(0.05), cpu=0.02 * 5 * processes, lost=lost)
    said = str(Verdict.of(idle))
    assert "5 % sent over 1 ms late" in said
    assert "--processes" not in said


def test_a_late_tester_that_was_always_busy_is_told_to_add_processes() -> None:
    busy = replace(made_up(seconds=5, rate=1000), slip=late(0.05), cpu=0.98 * 5)
    assert "--processes" in str(Verdict.of(busy))
