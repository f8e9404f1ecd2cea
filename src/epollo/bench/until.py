"""``until``: a run that ends as soon as it knows its figures precisely enough."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from queue import SimpleQueue
from threading import Thread
from typing import Protocol

from epollo.bench.results.precision import Precision, Windows
from epollo.bench.results.result import Result
from epollo.bench.results.second import Second
from epollo.bench.results.series import Histograms, SecondSink
from epollo.bench.switching import switching_often
from epollo.bench.workload import Workload


class Run(Protocol):
    """A run of a workload, in this process or in several."""

    def run(self) -> Result:
        """Run to the end. Raises SettingError, ConnectError and EpolloError."""

    def stop(self, *, interrupted: bool = True) -> None:
        """End early: send no more, wait for the replies."""


class UntilPrecise:
    """The run that ``start`` makes, which is given a sink of its seconds; it is ended when all
    ``until`` goals of ``workload`` are reached.

    A second comes to the sink when no more replies to its messages are awaited: some seconds later.
    A thread computes, because that would delay messages of the run; it calls ``checked`` with how
    precise the figures are, after each check.
    """

    def __init__(
        self,
        workload: Workload,
        start: Callable[[SecondSink], Run],
        checked: Callable[[Sequence[Precision]], object],
    ) -> None:
        self._windows = Windows(workload.goals)
        self._checked = checked
        self._queue: SimpleQueue[Second | Histograms | None] = SimpleQueue()
        self._watcher = Thread(target=self._watch, name="epollo-until", daemon=True)
        self._reached = False  # the thread says so, and the next second ends the run
        self._run = start(self)

    def run(self) -> Result:
        """Run until the goals are reached, or to the end. Raises what the run raises."""
        with switching_often():
            self._watcher.start()
            try:
                result = self._run.run()
            finally:
                self._queue.put(None)
                self._watcher.join()
        return replace(result, precision=tuple(self._windows.precisions()))

    def stop(self, *, interrupted: bool = True) -> None:
        """End early: send no more, wait for the replies. From any thread or signal."""
        self._run.stop(interrupted=interrupted)

    # SecondSink

    def append(self, second: Second) -> None:
        self._queue.put(second)
        if self._reached:
            self._reached = False
            self._run.stop(interrupted=False)

    def amend(self, place: int, more: Histograms) -> None:
        self._queue.put(more)

    def complete(self) -> None:
        """`run` says so."""

    def _watch(self) -> None:
        while (item := self._queue.get()) is not None:
            if not isinstance(item, Second):
                self._windows.amend(item)
            else:
                self._add(item)

    def _add(self, second: Second) -> None:
        before = self._windows.checked
        if self._windows.append(second):
            self._reached = True
        if self._windows.checked is not before:
            self._checked(self._windows.checked)


def watched(
    workload: Workload,
    start: Callable[[Sequence[SecondSink]], Run],
    checked: Callable[[Sequence[Precision]], object] | None = None,
) -> Run:
    """The run that ``start`` makes with sinks of its seconds, with the goals of ``workload``.
    ``checked`` as in `UntilPrecise`."""
    if not workload.goals:
        return start(())
    return UntilPrecise(workload, lambda sink: start((sink,)), checked or (lambda _: None))
