"""What a part of the run is."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from benchmarks import quiet
from benchmarks.load import Window
from benchmarks.machine import cores
from benchmarks.plan import Plan
from benchmarks.process import Running, serving
from benchmarks.samples import Sample
from benchmarks.servers import Server

Values = dict[str, float]


@dataclass(frozen=True, slots=True)
class Turn:
    """One measurement to be made: a server in a case, and how."""

    case: str
    server: Server
    measure: Callable[[Running, Window], Values]

    def take(self, core: int, window: Window) -> Values:
        """Measure once, with a process of its own: what a server's heap has become in one, and a
        memory layout that happened to be a lucky one, stay out of the next."""
        with serving(self.server, core) as running:
            return self.measure(running, window)


@dataclass(frozen=True, slots=True)
class Part:
    """One of the parts.

    Attributes:
        name: what `--parts` and the samples call it.
        rounds: how many there are under a plan.
        turns: those of one round, in order. It is told the round's number, and is sent each
            turn's values where the next depend on them.
        report: the sections about it in Markdown.
    """

    name: str
    rounds: Callable[[Plan], int]
    turns: Callable[[Plan, int], Iterator[Turn]]
    report: Callable[[Plan, Sequence[Sample]], str]

    def samples(self, plan: Plan) -> Iterator[Sample]:
        """Carry it out.

        Raises:
            BenchmarkError: a server or the load on it failed.
        """
        server_core, load_core = cores()
        window = Window(plan.seconds, plan.warmup, load_core)
        for number in range(1, self.rounds(plan) + 1):
            for turn in self.turns(plan, number):
                take = partial(turn.take, server_core, window)
                values = quiet.quietest(take, plan.attempts)
                yield Sample(self.name, turn.case, turn.server.name, number, values)


def all_rounds(plan: Plan) -> int:
    """As many as the plan has."""
    return plan.rounds


def few_rounds(plan: Plan) -> int:
    """No more than three: for what varies little, or is long."""
    return min(plan.rounds, 3)
