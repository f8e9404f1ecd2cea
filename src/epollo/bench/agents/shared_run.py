"""One workload on several agents, as if it were one run."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from epollo.bench.agents.interface import Agents
from epollo.bench.agents.messages import Amended, Closed, FromAgent, Live, Lost, Outcome, Ready
from epollo.bench.load.shards import Shard
from epollo.bench.results.agent import AgentPart
from epollo.bench.results.figures import RunFigures
from epollo.bench.results.result import Result, merge
from epollo.bench.results.second import Second, merge_seconds
from epollo.bench.results.series import RecordedSeries
from epollo.bench.workload import Workload
from epollo.errors import EpolloError


class SharedRun:
    """One run of one workload on ``agents``. ``progress`` is called once a second, and the
    seconds go to ``series``, which the result has. ``figures`` is called with the counts of all
    agents, whenever one of them has told its own, which each does once a second.

    Each runs a shard of the connections and their messages. They open connections, begin the
    warm-up and begin the window at the same time, when all are ready. One that is lost before the
    load begins ends the run; later, only if the agents are not ``outlived``: otherwise the result
    has the figures of the others, and says whose share is missing.
    """

    def __init__(
        self,
        workload: Workload,
        agents: Agents,
        progress: Callable[[Second], object] | None = None,
        series: RecordedSeries | None = None,
        figures: Callable[[RunFigures], object] | None = None,
    ) -> None:
        self.workload = workload
        self.shares: list[RunningShard] = []
        self._agents = agents
        self._progress = progress or (lambda _: None)
        self._series = RecordedSeries() if series is None else series
        self._figures = figures
        self._began = False

    def run(self) -> Result:
        """Run to the end. Raises what Driver raises, and EpolloError if an agent was lost that is
        not outlived, or all of them."""
        agents = self._agents
        try:
            agents.start(self.workload, self._figures is not None)
            of = len(agents.names)
            for index, name in enumerate(agents.names):
                self.shares.append(RunningShard(name, Shard(index, of), agents.outlived))
            while self._running:
                for index, message in agents.receive():
                    self._take(index, message)
                self._tell_figures()
                self._release()
                self._report_seconds()
                self._add_closed()
        finally:
            agents.close()
        return self._result()

    def stop(self, *, interrupted: bool = True) -> None:
        """End early: send no more, wait for the replies. From any thread or signal;
        ``interrupted`` as in `Driver.stop`."""
        self._agents.stop(interrupted)

    @property
    def _running(self) -> list[RunningShard]:
        return [share for share in self.shares if share.running]

    def _take(self, index: int, message: FromAgent) -> None:
        """Take a message of an agent. Raises the EpolloError that it sent."""
        if isinstance(message, EpolloError):
            raise message
        share = self.shares[index]
        if isinstance(message, Lost):
            self._lose(share, message.why)
        else:
            share.receive(message)

    def _lose(self, share: RunningShard, why: str) -> None:
        if not (self._agents.outlived and self._began):
            raise EpolloError(f"{share.name} of the load test {why}")
        share.lost = why
        if all(each.lost for each in self.shares):
            raise EpolloError(f"no agent of the load test is left: {share.name} {why}")

    def _release(self) -> None:
        """Let all shares continue, if all that still run are waiting."""
        running = self._running
        if running and all(share.waiting for share in running):
            for share in running:
                share.waiting = False
            self._began = True
            self._agents.go([share.shard.index for share in running])

    def _report_seconds(self) -> None:
        """Report each second that all shares still running have reported."""
        for second in self._complete([(share, share.live) for share in self.shares]):
            self._progress(second)

    def _tell_figures(self) -> None:
        """Tell the counts of all shares together, if one has told its own."""
        if self._figures is not None and any(share.told for share in self.shares):
            for share in self.shares:
                share.told = False
            every = [share.figures for share in self.shares if share.figures is not None]
            self._figures(RunFigures.sum(every))

    def _add_closed(self) -> None:
        """Keep each second that all shares still running have closed."""
        for second in self._complete([(share, share.closed) for share in self.shares]):
            self._series.append(second)
        for share in self.shares:
            while share.amended and share.amended[0].number < len(self._series):
                amended = share.amended.popleft()
                self._series.amend(amended.number, amended.more)

    def _complete(self, queues: Sequence[tuple[RunningShard, deque[Second]]]) -> Iterator[Second]:
        """The next seconds that no share is still to send, merged."""
        while all(queue or not share.running for share, queue in queues):
            seconds = [queue.popleft() for _, queue in queues if queue]
            if not seconds:
                return
            yield self._merged(seconds)

    def _merged(self, seconds: Sequence[Second]) -> Second:
        """The seconds as one. Its target is the rate of the whole load, with the part of a lost
        agent."""
        whole = merge_seconds(seconds)
        if whole.target is None or not whole.seconds or len(seconds) == len(self.shares):
            return whole
        due = self.workload.profile.due
        return replace(
            whole, target=(due(whole.start + whole.seconds) - due(whole.start)) / whole.seconds
        )

    def _result(self) -> Result:
        self._series.complete()
        found = [(share, share.outcome) for share in self.shares if share.outcome is not None]
        outcomes = [outcome for _, outcome in found]
        result = merge([outcome.result for outcome in outcomes])
        refusals = [outcome.refusal for outcome in outcomes if outcome.refusal is not None]
        if len(refusals) == len(outcomes):
            raise refusals[0]
        series = self._series
        if len(found) < len(self.shares):
            series = self._series_of_found()
        return replace(
            result,
            answered=self._answered(),
            seconds=series,
            agents=tuple(self._part_of(share) for share in self.shares),
        )

    def _answered(self) -> list[int]:
        """The replies of each connection, in the order of all; without those of lost agents."""
        answered: list[int | None] = [None] * self.workload.connections
        for share in self.shares:
            if share.outcome is not None:
                answered[share.shard.index :: share.shard.of] = share.outcome.result.answered
        return [count for count in answered if count is not None]

    def _series_of_found(self) -> RecordedSeries:
        """The seconds of the agents that have a result, so that all figures are of the same."""
        kept = [share.kept for share in self.shares if share.outcome is not None and share.kept]
        series = RecordedSeries()
        for number in range(max(map(len, kept), default=0)):
            series.append(self._merged([each[number] for each in kept if number < len(each)]))
        series.complete()
        return series

    def _part_of(self, share: RunningShard) -> AgentPart:
        part = share.shard.part(self.workload.connections)
        seed = share.shard.number(self.workload.seed)
        wanted = share.shard.count(self.workload.connections)
        if share.outcome is None:
            return AgentPart.missing_of(share.name, wanted, part, seed, share.lost)
        result = share.outcome.result
        return AgentPart(
            name=share.name,
            missing="",
            connections=wanted,
            part=part,
            seed=seed,
            round_trip=self._agents.round_trip(share.shard.index),
            sent=result.sent,
            messages=result.messages,
            rate=share.count / result.elapsed if result.elapsed else 0.0,
            response=result.response,
            service=result.service,
            slip=result.slip,
            cpu=result.cpu,
            waited=result.waited,
        )


class RunningShard:
    """A share while it runs, as the coordinator knows it. With ``keep``, its seconds are kept apart
    too.

    Attributes:
        waiting: it waits for the others.
        live, closed, amended: what it sent and was not merged yet.
        figures: the counts it told last; ``told``: since they were read.
        outcome: its result, once it has one.
        lost: why its agent is gone; empty if it is not.
        count: messages answered in its closed seconds.
        kept: those seconds.
    """

    def __init__(self, name: str, shard: Shard, keep: bool) -> None:
        self.name = name
        self.shard = shard
        self.waiting: bool = False
        self.live: deque[Second] = deque()
        self.closed: deque[Second] = deque()
        self.amended: deque[Amended] = deque()
        self.figures: RunFigures | None = None
        self.told: bool = False
        self.outcome: Outcome | None = None
        self.lost: str = ""
        self.count: int = 0
        self.kept: RecordedSeries | None = RecordedSeries() if keep else None

    @property
    def running(self) -> bool:
        """Has it neither a result, nor lost its agent?"""
        return self.outcome is None and not self.lost

    def receive(self, message: Ready | RunFigures | Live | Closed | Amended | Outcome) -> None:
        """Take its next message."""
        if isinstance(message, Live):
            self.live.append(message.second)
        elif isinstance(message, RunFigures):
            self.figures, self.told = message, True
        elif isinstance(message, Closed):
            self._close(message.second)
        elif isinstance(message, Amended):
            self.amended.append(message)
            if self.kept is not None:
                self.kept.amend(message.number, message.more)
        elif isinstance(message, Ready):
            self.waiting = True
        else:
            self.outcome = message

    def _close(self, second: Second) -> None:
        self.closed.append(second)
        self.count += second.messages
        if self.kept is not None:
            self.kept.append(second)
