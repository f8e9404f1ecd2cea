"""The report: the same in a terminal and in a pipe, and right where there is little to tell."""

from __future__ import annotations

from epollo.bench.histogram import Histogram
from epollo.bench.report import text
from tests.bench.test_result import histogram, result

REPORT = """\
epollo bench 127.0.0.1:8091
2 connections, depth 1, 64 B messages, framing u32, closed loop, 1 s of warm-up not counted

mean round trip 1.512 ms   sd 513 µs   min 1 ms   max 2.05 ms
      50 %       1 ms
      75 %       2 ms
      90 %    2.05 ms
      95 %    2.05 ms
      99 %    2.05 ms
    99.9 %    2.05 ms
   99.99 %    2.05 ms
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

messages     4 in 2 s: 2 a second, 128 B/s each way
connections  2 of 2 opened, median 100 µs, slowest 200 µs; first reply: median 1 ms, slowest 3 ms
fairness     1 to 3 messages a connection

verdict      every reply came, in order and verified to the byte; no errors"""


def test_the_report_of_a_good_run() -> None:
    latency = histogram(1_000_000, 1_000_000, 2_000_000, 2_050_000)
    good = text(result(latency=latency, answered=[1, 3], errors={}))
    assert good == REPORT


def test_the_verdict_names_each_error() -> None:
    failed = text(result(errors={"unanswered": 1200, "reset": 3}))
    assert failed.endswith("\nverdict      FAILED: reset 3, unanswered 1,200")


def test_a_single_message_has_no_distribution() -> None:
    single = text(result(latency=histogram(1_000_000), answered=[1, 0], errors={}))
    assert "mean round trip 1.000 ms   sd 0 ns   min 1 ms   max 1 ms" in single
    assert "  from " not in single


def test_where_nothing_was_measured_no_latency_is_told() -> None:
    nothing = text(result(latency=Histogram(), answered=[0, 0], first_reply=Histogram(), errors={}))
    assert "round trip" not in nothing
    assert "opened, median 100 µs, slowest 200 µs; first reply: none\n" in nothing
    assert nothing.endswith("\nverdict      no message was measured")
