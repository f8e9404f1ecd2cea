"""What is seen while a run goes on, and what is left of it: nothing."""

from __future__ import annotations

import io
import math
from dataclasses import replace

import pytest
from rich.console import Console

from epollo.bench import Workload
from epollo.bench.output.live import Live, clock, figures
from epollo.bench.results.histogram import Histogram
from epollo.bench.results.precision import Precision
from tests.bench.support import made_up


class Screen(io.StringIO):
    """A terminal, as far as programs ask."""

    def isatty(self) -> bool:
        return True


def console(file: io.StringIO, width: int = 100, quiet: bool = False) -> Console:
    environment = {"TERM": "xterm", "FORCE_COLOR": "1"}
    return Console(file=file, width=width, quiet=quiet, _environ=environment)


def shown(workload: Workload, seconds: int = 1, width: int = 100) -> str:
    """All that a terminal of that width gets of a run."""
    screen = Screen()
    with Live(workload, console(screen, width)) as live:
        for second in made_up(seconds=seconds, rate=workload.rate).seconds:
            live.update(second)
    return screen.getvalue()


def test_a_second_in_one_line() -> None:
    (second,) = made_up(lambda *_: 1_000_000, seconds=1, rate=2000).seconds
    assert str(figures(replace(second, errors=3))) == (
        "1,000 of 2,000 msg/s   p50 1 ms   p99 1 ms   errors 3   outstanding 10"
    )
    assert str(figures(replace(second, target=None))).startswith("1,000 msg/s   p50 1 ms ")


def test_it_tells_how_long_it_has_been_and_will_be() -> None:
    screen = shown(Workload(address="127.0.0.1:1", duration=75, rate=1000), seconds=5)
    assert "connecting 100, warming up" in screen
    assert "0:05 elapsed, 1:10 left" in screen
    assert "1,000 of 1,000 msg/s   p50 " in screen


def test_a_run_of_messages_is_over_when_they_are() -> None:
    screen = shown(Workload(address="127.0.0.1:1", duration=None, messages=4000), seconds=1)
    assert "0:01 elapsed, 0:03 left" in screen


@pytest.mark.parametrize("width", [20, 40, 80])
def test_a_narrow_terminal_gets_two_lines_still(width: int) -> None:
    """All that is written is erased: no line is left that the cursor does not come back to."""
    screen = shown(Workload(address="127.0.0.1:1"), seconds=2, width=width)
    frames = screen.split("\x1b[2K")
    assert max(frame.count("\n") for frame in frames[:-3]) == 1
    assert screen.count("\n") == screen.count("\x1b[1A")
    assert screen.endswith("\x1b[1A\x1b[2K")


def test_it_tells_how_precise_the_figures_are_by_now() -> None:
    screen = Screen()
    load = Workload(address="127.0.0.1:1", duration=60, until="p99±5%,mean±2%")
    known = {"value": 0.01, "low": 0.0094, "high": 0.0112}
    unknown = {"value": 0.01, "low": 0.009, "high": None}
    precision = [
        Precision("p99±5%", "p99", 0.05, **known),
        Precision("mean±2%", "mean", 0.02, **unknown),
    ]
    with Live(load, console(screen)) as live:
        live.precise(precision)
        live.update(made_up().seconds[0])
    assert "p99 ±12 %, wanted ±5 %   mean not known, wanted ±2 %" in screen.getvalue()


def test_its_end_is_announced_while_replies_are_waited_for() -> None:
    screen = Screen()
    with Live(Workload(address="127.0.0.1:1"), console(screen)) as live:
        live.stopping()
    assert "ending: waiting up to 5 s for replies; once more (Ctrl-C) leaves at once" in (
        screen.getvalue()
    )


@pytest.mark.parametrize(
    ("file", "quiet"), [(io.StringIO(), False), (Screen(), True)], ids=["a-pipe", "quiet"]
)
def test_where_nobody_looks_nothing_is_written(file: io.StringIO, quiet: bool) -> None:
    with Live(Workload(address="127.0.0.1:1"), console(file, quiet=quiet)) as live:
        live.update(made_up().seconds[0])
        live.stopping()
    assert file.getvalue() == ""


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0:00"), (59.6, "1:00"), (600, "10:00"), (3661, "1:01:01"), (math.inf, "-:--")],
)
def test_a_clock(seconds: float, text: str) -> None:
    assert clock(seconds) == text


def test_a_second_without_a_message_has_no_percentiles() -> None:
    (second,) = made_up(seconds=1).seconds
    shown = str(figures(replace(second, messages=0, response=Histogram())))
    assert "0 ns" not in shown
    assert "p50 -" in shown
