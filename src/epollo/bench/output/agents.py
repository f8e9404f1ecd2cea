"""What each agent of a run measured, as text: next to the sum of all."""

from __future__ import annotations

from collections.abc import Iterator

from epollo.bench.output.wording import percentiles_ns
from epollo.bench.results.agent import AgentPart
from epollo.bench.results.result import LATE, Result
from epollo.units import format_seconds


def agents(result: Result) -> list[str]:
    """A line for each agent, and one about when they began; none if one process did all."""
    width = max((len(agent.name) for agent in result.agents), default=0)
    return [
        *(f"{agent.name:<{width}}  {_figures(agent, result)}" for agent in result.agents),
        *_beginning(result),
    ]


def _figures(agent: AgentPart, result: Result) -> str:
    if agent.missing:
        return f"MISSING: it {agent.missing}"
    p50, p99 = percentiles_ns(agent.response, (50.0, 99.0))
    target = "" if result.target is None else f" of {result.target * agent.part:,.0f}"
    words = f"{agent.connections:,} connections, {agent.rate:,.0f}{target} msg/s"
    words = f"{words}, p50 {p50}, p99 {p99}"
    if agent.slip.total:
        words += f", {100 * agent.slip.above(LATE):.3g} % late"
    return words


def _beginning(result: Result) -> Iterator[str]:
    """By how much the agents may have begun one after the other."""
    trips = [agent.round_trip for agent in result.agents if agent.round_trip is not None]
    if len(trips) > 1:
        yield (
            f"begun within {format_seconds(max(trips))} of each other: the longest round trip of "
            "the order, as they share no clock"
        )
