"""The report: plain text, right for every kind of run, and where there is little to tell."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

from epollo.bench import Result
from epollo.bench.output.pictures.tables import amounts, latencies
from epollo.bench.output.text import render
from epollo.bench.results.histogram import Histogram
from epollo.bench.results.verdict import Verdict
from tests.bench.support import made_up

MS = 1_000_000


def histogram(*values: int) -> Histogram:
    recorded = Histogram()
    for value in values:
        recorded.record(value)
    return recorded


def closed(**changes: Any) -> Result:
    """Four messages in two seconds over two connections."""
    made = made_up(lambda *_: 1, seconds=2, per_second=2, connections=2)
    times = histogram(1 * MS, 1 * MS, 2 * MS, 2_050_000)
    fields: dict[str, Any] = {
        "response": times,
        "service": times,
        "answered": [1, 3],
        "connect": histogram(100_000, 200_000),
        "first_reply": histogram(1 * MS, 3 * MS),
    }
    return replace(made, **fields | changes)


def report(result: Result) -> str:
    return render(Verdict.of(result))


def line(of: str, name: str) -> str:
    """The one line of a report that begins with ``name``."""
    (found,) = [line for line in of.splitlines() if line.startswith(name)]
    return found


CLOSED = """\
epollo bench 127.0.0.1:8091
2 connections, closed loop of depth 1, 64 B messages, framing u32
2 s measured after 1 s of warm-up

mean round trip 1.512 ms   sd 513 µs   min 1 ms   max 2.05 ms
      50 %       1 ms
      75 %       2 ms
      90 %          -
      95 %          -
      99 %          -
    99.9 %          -
   99.99 %          -
     100 %    2.05 ms

  from     1 ms           2  ########################################
  from  1.07 ms           0
  from  1.15 ms           0
  from  1.24 ms           0
  from  1.33 ms           0
  from  1.43 ms           0
  from  1.54 ms           0
  from  1.65 ms           0
  from  1.78 ms           0
  from  1.91 ms           2  ########################################

messages     4 answered of 4 sent, 2 a second
bytes        256 B sent, 128 B/s; 256 B received, 128 B/s; without headers
connections  2 of 2 opened; connect: median 100 µs, p99 -, slowest 200 µs
             first reply: median 1 ms, p99 -, slowest 3 ms
fairness     1 to 3 messages a connection, 2 on average
outstanding  0.0 messages on average, 2.0 expected (Little's law: rate x round trip)

verdict      every reply came, in order and verified to the byte; no errors"""


def test_the_report_of_a_closed_loop() -> None:
    assert report(closed()) == CLOSED


def test_an_open_loop_has_response_service_and_slip_side_by_side() -> None:
    result = made_up(lambda *_: 2 * MS, seconds=10, per_second=100, rate=100, arrival="poisson")
    slip = histogram(*[10_000] * 999, 3 * MS)
    shown = report(replace(result, service=histogram(1 * MS), slip=slip))
    assert "\n100 connections, open loop at 100 messages/s, Poisson, 64 B messages, " in shown
    assert "\n              response     service        slip\n" in shown
    assert "\n      mean        2 ms        1 ms       13 µs\n" in shown
    assert "\n      50 %        2 ms        1 ms       10 µs\n" in shown
    assert "\n     100 %        2 ms        1 ms        3 ms\n" in shown
    assert line(shown, "messages").endswith("100 a second of 100 wanted")
    assert line(shown, "outstanding").endswith(" messages on average")


def test_bytes_that_come_behind_the_window_are_not_in_their_rate() -> None:
    """As messages are not: a server with a backlog would seem to keep up."""
    made = made_up(seconds=4, per_second=400, rate=400)
    behind = replace(made, seconds=[replace(second, messages=100) for second in made.seconds])
    shown = line(report(behind), "bytes")
    assert shown.startswith("bytes        100 KiB sent, 25 KiB/s; 100 KiB received, 6.25 KiB/s;")
    rows = {str(row[0]): row[1] for row in amounts([behind]).rows}
    assert rows["Bytes received"] == "100 KiB, 6.25 KiB/s"


def test_each_step_has_a_line() -> None:
    """A second that two steps share belongs to the one that has its middle."""
    result = made_up(
        lambda _, second: (second + 1) * MS, seconds=5, per_second=100, rate="100/1.4s,200/3.6s"
    )
    shown = report(result)
    assert "\n      from      target    achieved         p50         p99\n" in shown
    assert "\n       0 s         100         100        1 ms        1 ms\n" in shown
    assert "\n       1 s         200         100        3 ms        5 ms\n\n" in shown


def test_a_single_rate_has_no_steps() -> None:
    assert "achieved  " not in report(made_up(rate=1000))


def test_a_ramp_is_ten_steps() -> None:
    shown = report(made_up(seconds=20, per_second=10, rate="10..20/20s"))
    steps = shown.split("p99\n")[1].split("\n\n")[0].splitlines()
    assert [row.split()[0] for row in steps] == [str(n) for n in range(0, 20, 2)]
    assert [row.split()[2] for row in steps] == [
        "10",
        "12",
        "12",
        "14",
        "14",
        "16",
        "16",
        "18",
        "18",
        "20",
    ]


def test_a_run_that_ended_within_a_step_has_the_steps_it_came_to() -> None:
    shown = report(made_up(seconds=2, per_second=10, rate="10/1s,20/1s,30/10s"))
    assert shown.count(" s          ") == 2


def test_littles_law_is_stated_with_think_time_in_the_cycle() -> None:
    """4 connections, 2 deep, of which each message is outstanding for 1 of 4 ms."""
    result = made_up(
        lambda *_: 1 * MS, seconds=1, per_second=2000, connections=4, depth=2, think=0.003
    )
    assert line(report(result), "outstanding").startswith(
        "outstanding  2.0 messages on average, 2.0 expected (Little's law"
    )


@pytest.mark.parametrize(
    ("error", "meaning"),
    [
        ("unanswered", "no reply within 5 s, or before the connection ended"),
        ("bad_frame", "the server sent an invalid u32 frame"),
        ("wrong_bytes", "replies that differ from what was sent"),
        ("an_error_of_tomorrow", ""),
    ],
)
def test_each_kind_of_error_has_its_line_and_what_it_means(error: str, meaning: str) -> None:
    shown = line(report(closed(errors={error: 1200})), "errors")
    assert shown == f"errors       {error:<15}      1,200   {meaning}".rstrip()


def test_a_server_of_which_no_reply_was_right_may_not_be_an_echo() -> None:
    hint = "; if the server does not echo, say with --expect what is right"
    none = report(closed(answered=[0, 0], errors={"wrong_bytes": 2}))
    assert line(none, "errors").endswith(f"what was sent{hint}")
    assert hint not in report(closed(errors={"wrong_bytes": 2}))


def test_a_server_that_never_answered_may_speak_another_language() -> None:
    def told(error: str, **changes: Any) -> str:
        made = closed(answered=[0, 0], errors={error: 2}, **{"first_reply": Histogram()} | changes)
        return line(report(made), "errors")

    asked = "the server closed while replies were due; does it speak u32, without TLS?"
    assert told("closed_early").endswith(asked)
    silent = "before the connection ended; does it speak u32, without TLS?"
    assert told("unanswered").endswith(silent)
    tls = replace(closed().workload, tls=True)
    assert told("reset", workload=tls).endswith("broke the connection; does it speak u32?")
    answered = told("closed_early", first_reply=histogram(1 * MS))
    assert answered.endswith("while replies were due"), "it did, if only in the warm-up"


def test_what_a_function_says_no_to_need_not_differ_from_what_was_sent() -> None:
    load = replace(closed().workload, expect="shop:is_receipt")
    shown = line(report(closed(errors={"wrong_bytes": 2}, workload=load)), "errors")
    assert shown.endswith("replies that shop:is_receipt rejects")


def test_connections_that_come_and_go_are_counted_so() -> None:
    churn = replace(closed().workload, reconnect_every=1)
    shown = report(closed(workload=churn, connect=histogram(1, 2, 3, 4)))
    assert line(shown, "connections").startswith("connections  4 opened, 2 at a time; connect: ")
    assert line(shown, "outstanding").endswith(" messages on average")


def test_a_run_that_ended_early_says_so() -> None:
    shown = report(closed(interrupted=True))
    assert "\n2 s measured after 1 s of warm-up, ended early\n" in shown
    assert shown.endswith("; ended early, as asked")


def test_a_single_message_has_no_distribution() -> None:
    single = report(closed(response=histogram(1 * MS), answered=[1]))
    assert "mean round trip 1.000 ms   sd 0 s   min 1 ms   max 1 ms" in single
    assert "  from " not in single
    assert "\nfairness" not in single


def test_where_nothing_was_measured_no_latency_is_told() -> None:
    empty = Histogram()
    nothing = closed(
        response=empty, service=empty, answered=[], first_reply=empty, connect=empty, elapsed=0.0
    )
    shown = report(nothing)
    assert "round trip" not in shown
    assert "\nconnections  0 of 2 opened; connect: none\n             first reply: none\n" in shown
    assert shown.endswith("\nverdict      FAILED: no message was measured")


# -- what was not measured


def test_slip_that_no_message_had_is_not_0() -> None:
    """No scheduled message was sent."""
    result = made_up(lambda *_: 2 * MS, seconds=2, per_second=100, rate=100)
    shown = report(replace(result, slip=Histogram()))
    assert re.search(r"\b0 ns", shown) is None
    assert re.search(r"mean .* -\n", shown)


def test_slip_that_no_message_had_is_not_0_on_a_page_either() -> None:
    result = made_up(lambda *_: 2 * MS, seconds=2, per_second=100, rate=100)
    rows = latencies([replace(result, slip=Histogram())]).rows
    assert "0\N{NO-BREAK SPACE}ns" not in [row[-1] for row in rows]


def test_a_step_without_a_message_has_no_percentiles() -> None:
    result = made_up(lambda *_: 2 * MS, seconds=4, per_second=100, rate="100/2s,200/2s")
    quiet = [replace(second, response=Histogram()) for second in result.seconds[:2]]
    shown = report(replace(result, seconds=[*quiet, *result.seconds[2:]]))
    assert re.search(r"\b0 ns", shown) is None


def test_a_window_that_never_was_has_no_rate_and_nothing_outstanding() -> None:
    empty: dict[str, Any] = dict.fromkeys(("response", "service", "first_reply"), Histogram())
    shown = report(closed(**empty, elapsed=0.0, sent=0, answered=[0, 0], seconds=[]))
    assert ", 0 a second" not in shown
    assert "0.0 messages on average" not in shown


# -- percentiles beyond the sample


def alike(count: int) -> Histogram:
    """That many values of 1 ms."""
    times = Histogram()
    times.record_many(MS, count)
    return times


@pytest.mark.parametrize("rate", [None, 100], ids=["closed", "open"])
@pytest.mark.parametrize("percent", ["99.9", "99.99"])
def test_a_percentile_beyond_the_sample_is_marked(percent: str, rate: float | None) -> None:
    shown = []
    for times in (alike(3), alike(10**7)):
        made = made_up(seconds=2, rate=rate, connections=1)
        run = replace(made, response=times, service=times, slip=times)
        shown += [[row for row in report(run).splitlines() if f" {percent} % " in row]]
    assert len(shown[1]) == 1
    assert shown[0] != shown[1]


def test_a_percentile_beyond_the_sample_is_marked_on_a_page_too() -> None:
    few, many = (latencies([replace(made_up(), response=alike(n))]).rows for n in (3, 10**7))
    assert few[0] == many[0], "the mean"
    row = [name for name, *_ in many].index("99.99 %")
    assert few[row] != many[row]


def test_a_percentile_of_three_connects_is_marked() -> None:
    few, many = (line(report(closed(connect=alike(n))), "connections") for n in (3, 10**7))
    assert few.partition("; ")[2] != many.partition("; ")[2]
