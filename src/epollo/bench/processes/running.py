"""``--processes``: one workload on several processes, as if it were one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from multiprocessing.connection import Pipe, wait
from pathlib import Path
from time import monotonic_ns

from epollo.bench.processes.orders import Go, Order, Outcome, Ready, Report, Stop
from epollo.bench.processes.shares import Share
from epollo.bench.results.result import Result, Second, merge
from epollo.bench.run.driver import Driver
from epollo.bench.workload import Workload
from epollo.errors import EpolloError

_LEAD = 50_000_000  # ns, from an order to go on to its time: long enough to reach a busy process
_END_SECONDS = 5.0


def new_run(
    workload: Workload, progress: Callable[[Second], object] | None = None
) -> Driver | Processes:
    """What runs ``workload``: in this process, or in as many as it asks for."""
    return (Driver if workload.processes == 1 else Processes)(workload, progress)


class Processes:
    """One run of one workload on several processes. ``progress`` is called once a second.

    Each has a share of the connections, and what is sent on these. They open them, begin the
    warm-up, and so the window, at the same time: none before all can. A process that dies ends the
    run; when this one does, however that comes, so do they.
    """

    def __init__(
        self, workload: Workload, progress: Callable[[Second], object] | None = None
    ) -> None:
        self.workload = workload
        self.members: list[Member] = []
        self._progress = progress or (lambda _: None)
        self._told = 0  # seconds
        self._stopped = False

    def run(self) -> Result:
        """Run to the end. Raises what Driver does, and EpolloError for a process that died."""
        try:
            of = self.workload.processes
            self.members += [Member(self.workload, Share(index, of)) for index in range(of)]
            if self._stopped:
                self.stop()
            while running := self._running:
                for pipe in wait([member.pipe for member in running]):
                    next(member for member in running if member.pipe is pipe).hear()
                self._release()
                self._tell()
        finally:
            for member in self.members:
                member.pipe.close()
            for member in self.members:
                member.end()
        return self._result()

    def stop(self) -> None:
        """End early: send no more, wait for the replies. From any signal."""
        self._stopped = True
        for member in self.members:
            member.tell(Stop())

    @property
    def _running(self) -> list[Member]:
        return [member for member in self.members if member.outcome is None]

    def _release(self) -> None:
        """Let all go on, where all that still run wait for it."""
        running = self._running
        if all(member.waits for member in running):
            go = Go(monotonic_ns() + _LEAD)
            for member in running:
                member.waits = False
                member.tell(go)

    def _tell(self) -> None:
        """Tell each second that all have told, but for those that ended before it."""
        while all(len(member.seconds) > self._told for member in self._running):
            told = [m.seconds[self._told] for m in self.members if len(m.seconds) > self._told]
            if not told:
                return
            whole, *others = told
            for second in others:
                whole = whole.merged(second)
            self._told += 1
            self._progress(whole)

    def _result(self) -> Result:
        outcomes = [member.outcome for member in self.members if member.outcome is not None]
        result = merge([outcome.result for outcome in outcomes])
        refusals = [outcome.refusal for outcome in outcomes if outcome.refusal is not None]
        if len(refusals) == len(outcomes):
            raise refusals[0]
        answered = [0] * self.workload.connections
        for member, outcome in zip(self.members, outcomes, strict=True):
            answered[member.share.index :: member.share.of] = outcome.result.answered
        return replace(result, answered=answered)


class Member:
    """One of the processes, seen from the one that started it."""

    def __init__(self, workload: Workload, share: Share) -> None:
        self.share = share
        self.waits = False
        self.seconds: list[Second] = []
        self.outcome: Outcome | None = None
        self.pipe, theirs = Pipe()
        with theirs:
            # A session of its own, so that Ctrl-C is for this process to handle.
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", "epollo.bench.processes.worker", str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                env=_environment(),
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        with suppress(OSError):  # it is gone, as the next one to hear it will tell
            self.pipe.send((workload, share))

    def tell(self, order: Order) -> None:
        """Give an order, if it is still there."""
        with suppress(OSError):
            self.pipe.send(order)

    def hear(self) -> None:
        """Take its next report. Raises EpolloError: what it could not do, or that it died."""
        try:
            report: Report = self.pipe.recv()
        except (EOFError, OSError):
            raise self._died() from None
        if isinstance(report, EpolloError):
            raise report
        if isinstance(report, Second):
            self.seconds.append(report)
        elif isinstance(report, Ready):
            self.waits = True
        else:
            self.outcome = report

    def end(self) -> None:
        """Wait for its end, which comes with that of the pipe."""
        try:
            self.process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def _died(self) -> EpolloError:
        name = f"process {self.share.index + 1} of {self.share.of} of the load test"
        status = self.process.wait(_END_SECONDS)
        if status >= 0:
            return EpolloError(f"{name} ended with status {status}; see its error above")
        by = signal.Signals(-status).name
        return EpolloError(f"{name} was killed by {by}; if nobody did that, see dmesg for memory")


def _environment() -> dict[str, str]:
    """That of this process, in which the same modules are found."""
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(path or str(Path.cwd()) for path in sys.path),
    }
