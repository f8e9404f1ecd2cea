"""``--processes``: the shares of a load run in processes of this machine."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from queue import Empty, SimpleQueue
from time import monotonic_ns

from epollo.bench.agents.agent_process import AgentProcess
from epollo.bench.agents.assignment import assignments
from epollo.bench.agents.messages import FromAgent, Go, Lost, Outcome, Stop, message_of
from epollo.bench.workload import Workload

_LEAD = 50_000_000  # ns, from sending Go to its time: long enough to reach a busy process
_WAIT = 0.2  # seconds


class LocalProcesses:
    """`Agents` of as many processes as the workload says. They share a clock, and end when this
    process ends, for whatever reason. One that dies ends the run."""

    outlived: bool = False

    def __init__(self) -> None:
        self.names: Sequence[str] = ()
        self.processes: list[AgentProcess] = []
        self._lines: SimpleQueue[tuple[int, bytes | None]] = SimpleQueue()
        self._done: set[int] = set()
        self._stop: Stop | None = None

    def start(self, workload: Workload, figures: bool) -> None:
        of = workload.processes
        self.names = [f"process {index + 1} of {of}" for index in range(of)]
        for index, share in enumerate(assignments(workload, of, figures)):
            self.processes.append(AgentProcess(share, partial(self._received, index)))
        if self._stop is not None:
            self.stop(self._stop.interrupted)

    def receive(self) -> Iterator[tuple[int, FromAgent]]:
        try:
            index, line = self._lines.get(timeout=_WAIT)
        except Empty:
            return
        if line is not None:
            message = message_of(line)
            if isinstance(message, Outcome):
                self._done.add(index)
            yield index, message
        elif index not in self._done:
            yield index, Lost(self._why(index))

    def go(self, indexes: Sequence[int]) -> None:
        order = Go(monotonic_ns() + _LEAD)
        for index in indexes:
            self.processes[index].send(order)

    def stop(self, interrupted: bool) -> None:
        self._stop = Stop(interrupted)
        for process in self.processes:
            process.send(self._stop)

    def round_trip(self, index: int) -> float | None:
        return None

    def close(self) -> None:
        for process in self.processes:
            process.hang_up()
        for process in self.processes:
            process.close()

    def _received(self, index: int, line: bytes | None) -> None:
        self._lines.put((index, line))

    def _why(self, index: int) -> str:
        how = self.processes[index].ended()
        if "killed" in how:
            return f"{how}; if no one sent that, see dmesg for lack of memory"
        return f"{how}; see its error above"
