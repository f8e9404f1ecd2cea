"""What runs the shares of a load: the contract of all kinds of agents."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from epollo.bench.agents.messages import FromAgent
from epollo.bench.workload import Workload


class Agents(Protocol):
    """Runs a load in shares, one on each agent.

    Attributes:
        names: of the agents, in the order of their shares; known from `start` on.
        outlived: does the run go on without an agent that was lost?
    """

    names: Sequence[str]
    outlived: bool

    def start(self, workload: Workload, figures: bool) -> None:
        """Start a share of ``workload`` on each agent; with ``figures``, each tells its counts once
        a second. Raises EpolloError if that cannot be done."""

    def receive(self) -> Iterable[tuple[int, FromAgent]]:
        """Wait a moment for messages of the agents: the index of each, and the message. An agent
        that is gone is told as `Lost`, once. Raises EpolloError if none can be reached."""

    def go(self, indexes: Sequence[int]) -> None:
        """Let these agents, which are ready, continue at the same time."""

    def stop(self, interrupted: bool) -> None:
        """End all early, as `Driver.stop`. From any thread or signal."""

    def round_trip(self, index: int) -> float | None:
        """The seconds from the last `go` until its agent was known to have it: so much later than
        another may it have begun. None if the agents share a clock."""

    def close(self) -> None:
        """End all that still run, and wait for them."""
