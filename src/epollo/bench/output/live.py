"""The progress of a run: lines at the bottom of a terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import ExitStack
from queue import SimpleQueue
from threading import Thread
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live as Screen
from rich.text import Text

from epollo.bench.output.wording import percentiles_ns
from epollo.bench.results.precision import Precision
from epollo.bench.results.second import Second
from epollo.bench.switching import switching_often
from epollo.bench.workload import Workload
from epollo.units import format_seconds

_BAR_WIDTH = 30


class Live:
    """Shows the progress of a run; nothing without a terminal. The lines are removed at the end.

    A thread draws, because drawing takes milliseconds, which would delay messages of the run. It
    gives the interpreter back within a fraction of a millisecond.
    """

    def __init__(self, workload: Workload, console: Console) -> None:
        self._workload = workload
        self._messages = 0
        self._queue: SimpleQueue[Second | RenderableType | None] = SimpleQueue()
        self._drawer = Thread(target=self._draw, name="epollo-live", daemon=True)
        self._switching = ExitStack()
        self._precision: Text | None = None  # of the figures for which the run goes on
        self._screen: Screen | None = None
        if console.file.isatty() and not console.quiet and not console.is_dumb_terminal:
            # stdout may be in use for a report or a file.
            self._screen = Screen(
                _first_line(workload),
                console=console,
                transient=True,
                auto_refresh=False,
                redirect_stdout=False,
                redirect_stderr=False,
            )

    def __enter__(self) -> Self:
        if self._screen is not None:
            self._screen.start(refresh=True)
            self._switching.enter_context(switching_often())
            self._drawer.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._screen is not None:
            self._queue.put(None)
            self._drawer.join()
            self._switching.close()
            self._screen.stop()

    def update(self, second: Second) -> None:
        """Show the last second."""
        if self._screen is not None:  # otherwise nothing would take it from the queue
            self._queue.put(second)

    def precise(self, precision: Sequence[Precision]) -> None:
        """Show how precise the figures are for which the run goes on. From any thread."""
        if self._screen is not None:
            self._precision = _line("   ".join(map(_precise, precision)))

    def stopping(self) -> None:
        """Show that the run ends early. May be called from a signal handler at any time."""
        wait = format_seconds(self._workload.timeout)
        words = f"ending: waiting up to {wait} for replies; once more (Ctrl-C) leaves at once"
        self._queue.put(_line(words))

    def _draw(self) -> None:
        assert self._screen is not None
        while (item := self._queue.get()) is not None:
            if isinstance(item, Second):
                self._messages += item.messages
                lines = [self._progress(item), figures(item)]
                item = Group(*lines, *([self._precision] if self._precision else []))
            self._screen.update(item, refresh=True)

    def _progress(self, second: Second) -> Text:
        elapsed = second.start + second.seconds
        done = self._done(elapsed)
        left = elapsed / done - elapsed if done else math.inf
        most = "at most " if self._workload.until else ""
        line = _line(f"{clock(elapsed)} elapsed, {most}{clock(left)} left   ")
        full = round(done * _BAR_WIDTH)
        return line.append("━" * full, "green").append("━" * (_BAR_WIDTH - full), "bright_black")

    def _done(self, elapsed: float) -> float:
        """The part of the run that is over: of its messages or its time, whichever ends first."""
        load = self._workload
        parts = [
            self._messages / load.messages if load.messages else 0.0,
            elapsed / load.seconds if load.seconds else 0.0,
        ]
        return min(1.0, max(parts))


def _first_line(workload: Workload) -> Text:
    """The line shown until the first second is over."""
    return _line(f"connecting {workload.connections:,}, warming up")


def figures(second: Second) -> Text:
    """The last second in one line."""
    target = "" if second.target is None else f" of {second.target:,.0f}"
    p50, p99 = percentiles_ns(second.response, (50.0, 99.0))
    line = _line(f"{second.rate:,.0f}{target} msg/s   p50 {p50}   p99 {p99}   ")
    line.append(f"errors {second.errors:,}", "red" if second.errors else "")
    return line.append(f"   outstanding {second.outstanding:,}")


def _precise(precision: Precision) -> str:
    """How precise a figure is, and how precise it is to be, in short."""
    known = math.isfinite(precision.distance)
    width = f"±{100 * precision.distance:.2g} %" if known else "not known"
    return f"{precision.figure} {width}, wanted ±{100 * precision.within:g} %"


def _line(text: str) -> Text:
    """One line. A narrow terminal cuts it, so the most important part is first."""
    return Text(text, no_wrap=True, overflow="ellipsis")


def clock(seconds: float) -> str:
    """A time as M:SS or H:MM:SS; inf is unknown."""
    if math.isinf(seconds):
        return "-:--"
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
