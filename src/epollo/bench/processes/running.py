"""``--processes``: one workload on several processes, as if it were one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from multiprocessing.connection import Connection, Pipe, wait
from pathlib import Path
from time import monotonic_ns
from typing import Any

from epollo.bench.load.shards import Shard
from epollo.bench.processes.shard_messages import (
    Amended,
    Closed,
    FromShard,
    Go,
    Outcome,
    Ready,
    Stop,
    ToShard,
)
from epollo.bench.results.figures import RunFigures
from epollo.bench.results.result import Result, merge
from epollo.bench.results.second import Second, merge_seconds
from epollo.bench.results.series import RecordedSeries
from epollo.bench.workload import Workload
from epollo.errors import EpolloError

_LEAD = 50_000_000  # ns, from sending Go to its time: long enough to reach a busy process
_END_SECONDS = 5.0


class Processes:
    """One run of one workload on several processes. ``progress`` is called once a second, and the
    seconds go to ``series``, which the result has. ``figures`` is called with the counts of all
    processes, whenever one of them has told its own, which each does once a second.

    Each runs a shard of the connections and their messages. They open connections, begin the
    warm-up and begin the window at the same time, when all are ready. A process that dies ends the
    run; when this process ends, for whatever reason, so do the others.
    """

    def __init__(
        self,
        workload: Workload,
        progress: Callable[[Second], object] | None = None,
        series: RecordedSeries | None = None,
        figures: Callable[[RunFigures], object] | None = None,
    ) -> None:
        self.workload = workload
        self.shards: list[ShardProcess] = []
        self._progress = progress or (lambda _: None)
        self._series = RecordedSeries() if series is None else series
        self._figures = figures
        self._stopped = False

    def run(self) -> Result:
        """Run to the end. Raises what Driver raises, and EpolloError if a process died."""
        try:
            of = self.workload.processes
            for index in range(of):
                self.shards.append(
                    ShardProcess(self.workload, Shard(index, of), self._figures is not None)
                )
            if self._stopped:
                self.stop()
            while running := self._running:
                for pipe in wait([shard.pipe for shard in running]):
                    next(shard for shard in running if shard.pipe is pipe).receive()
                self._tell_figures()
                self._release()
                self._report_seconds()
                self._add_closed()
        finally:
            for shard in self.shards:
                shard.pipe.close()
            for shard in self.shards:
                shard.wait()
        return self._result()

    def stop(self, *, interrupted: bool = True) -> None:
        """End early: send no more, wait for the replies. From any thread or signal;
        ``interrupted`` as in `Driver.stop`."""
        self._stopped = True
        for shard in self.shards:
            shard.send(Stop(interrupted))

    @property
    def _running(self) -> list[ShardProcess]:
        return [shard for shard in self.shards if shard.outcome is None]

    def _release(self) -> None:
        """Let all shards continue, if all that still run are waiting."""
        running = self._running
        if all(shard.waiting for shard in running):
            go = Go(monotonic_ns() + _LEAD)
            for shard in running:
                shard.waiting = False
                shard.send(go)

    def _report_seconds(self) -> None:
        """Report each second that all shards still running have reported."""
        for second in self._complete([(shard, shard.live) for shard in self.shards]):
            self._progress(second)

    def _tell_figures(self) -> None:
        """Tell the counts of all shards together, if one has told its own."""
        if self._figures is not None and any(shard.told for shard in self.shards):
            for shard in self.shards:
                shard.told = False
            every = [shard.figures for shard in self.shards if shard.figures is not None]
            self._figures(RunFigures.sum(every))

    def _add_closed(self) -> None:
        """Keep each second that all shards still running have closed."""
        for second in self._complete([(shard, shard.closed) for shard in self.shards]):
            self._series.append(second)
        for shard in self.shards:
            while shard.amended and shard.amended[0].number < len(self._series):
                amended = shard.amended.popleft()
                self._series.amend(amended.number, amended.more)

    def _complete(self, queues: Sequence[tuple[ShardProcess, deque[Second]]]) -> Iterator[Second]:
        """The next seconds that no shard is still to send, merged."""
        while all(queue or shard.outcome is not None for shard, queue in queues):
            seconds = [queue.popleft() for _, queue in queues if queue]
            if not seconds:
                return
            yield merge_seconds(seconds)

    def _result(self) -> Result:
        outcomes = [shard.outcome for shard in self.shards if shard.outcome is not None]
        self._series.complete()
        result = merge([outcome.result for outcome in outcomes])
        refusals = [outcome.refusal for outcome in outcomes if outcome.refusal is not None]
        if len(refusals) == len(outcomes):
            raise refusals[0]
        answered = [0] * self.workload.connections
        for process, outcome in zip(self.shards, outcomes, strict=True):
            answered[process.shard.index :: process.shard.of] = outcome.result.answered
        return replace(result, answered=answered, seconds=self._series)


class ShardProcess:
    """The process of one shard, seen from the one that started it."""

    def __init__(self, workload: Workload, shard: Shard, figures: bool = False) -> None:
        self.shard = shard
        self.waiting: bool = False  # for Go
        self.live: deque[Second] = deque()
        self.closed: deque[Second] = deque()
        self.amended: deque[Amended] = deque()
        self.figures: RunFigures | None = None  # the last it told
        self.told: bool = False  # since they were read
        self.outcome: Outcome | None = None
        ours, theirs = Pipe()
        self.pipe: Connection[Any, Any] = ours
        with theirs:
            # In a session of its own, so that only this process receives Ctrl-C.
            self.process: subprocess.Popen[bytes] = subprocess.Popen(
                [sys.executable, "-P", "-m", "epollo.bench.processes.worker", str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                env=_environment(),
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        with suppress(OSError):  # it is gone; `receive` will report that
            self.pipe.send((workload, shard, figures))

    def send(self, message: ToShard) -> None:
        """Send it a message, if it is still there."""
        with suppress(OSError):
            self.pipe.send(message)

    def receive(self) -> None:
        """Receive its next message. Raises the EpolloError that it sent, or EpolloError if it
        died."""
        try:
            message: FromShard = self.pipe.recv()
        except (EOFError, OSError):
            raise self._died() from None
        if isinstance(message, EpolloError):
            raise message
        if isinstance(message, Second):
            self.live.append(message)
        elif isinstance(message, RunFigures):
            self.figures, self.told = message, True
        elif isinstance(message, Closed):
            self.closed.append(message.second)
        elif isinstance(message, Amended):
            self.amended.append(message)
        elif isinstance(message, Ready):
            self.waiting = True
        else:
            self.outcome = message

    def wait(self) -> None:
        """Wait until it ends, which it does once its pipe is closed; kill it after a timeout."""
        try:
            self.process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def _died(self) -> EpolloError:
        name = f"process {self.shard.index + 1} of {self.shard.of} of the load test"
        status = self.process.wait(_END_SECONDS)
        if status >= 0:
            return EpolloError(f"{name} ended with status {status}; see its error above")
        by = signal.Signals(-status).name
        return EpolloError(
            f"{name} was killed by {by}; if no one sent that, see dmesg for lack of memory"
        )


def _environment() -> dict[str, str]:
    """The environment of this process, with the same module path."""
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(path or str(Path.cwd()) for path in sys.path),
    }
