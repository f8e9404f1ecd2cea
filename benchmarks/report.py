"""The results of a run, as Markdown for people and as JSON with every raw number."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from benchmarks.measure import Measurement, Plan
from benchmarks.servers import LIMIT, UVLOOP_PROTOCOL
from benchmarks.table import rate_table, ratio_table, target_table

FEWEST_ROUNDS = 3
SHORTEST_SECONDS = 1.0


def write(
    directory: Path, machine: dict[str, str], plan: Plan, measurements: Sequence[Measurement]
) -> None:
    """Write server.md and server.json into the directory."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "server.md").write_text(markdown(machine, plan, measurements))
    (directory / "server.json").write_text(raw(machine, plan, measurements))


def markdown(machine: dict[str, str], plan: Plan, measurements: Sequence[Measurement]) -> str:
    """Return the whole report."""
    return f"""# Framed echo: epollo beside its peers and the limit

Written by `python -m benchmarks {plan}`.

{provenance(machine)}

{tables(plan, measurements)}
"""


def provenance(machine: dict[str, str]) -> str:
    """Return the machine and the software as a list."""
    return "\n".join(f"- {heading}: {value}" for heading, value in machine.items())


def tables(plan: Plan, measurements: Sequence[Measurement]) -> str:
    """Return the tables with their headings."""
    bases = [base for base in (LIMIT, UVLOOP_PROTOCOL) if base in plan.servers]
    sections = {
        **{f"Ratio to {b.label}": ratio_table(measurements, plan.servers, b) for b in bases},
        "Messages per second": rate_table(measurements, plan.servers),
        "Targets": target_table(measurements),
    }
    return "\n\n".join([method(plan), *(f"## {name}\n\n{t}" for name, t in sections.items())])


def method(plan: Plan) -> str:
    """Return what the figures are, and a warning when the run was too short to be quoted."""
    text = (
        f"A closed loop. Rounds: {plan.rounds}, of {plan.seconds:g} s for each figure; medians,"
        " with the lowest and the highest in brackets. A ratio is taken within a round."
    )
    if plan.rounds < FEWEST_ROUNDS or plan.seconds < SHORTEST_SECONDS:
        text += (
            f" **Not to be quoted: fewer than {FEWEST_ROUNDS} rounds of {SHORTEST_SECONDS:g} s.**"
        )
    return text


def raw(machine: dict[str, str], plan: Plan, measurements: Sequence[Measurement]) -> str:
    """Return every number of the run as JSON."""
    document = {
        "machine": machine,
        "plan": {"rounds": plan.rounds, "seconds": plan.seconds, "warmup": plan.warmup},
        "measurements": [raw_measurement(measurement) for measurement in measurements],
    }
    return json.dumps(document, indent=1) + "\n"


def raw_measurement(measurement: Measurement) -> dict[str, str | float]:
    """Flatten one measurement."""
    return {
        "round": measurement.round,
        "server": measurement.server.name,
        **asdict(measurement.point),
        **asdict(measurement.load),
    }
