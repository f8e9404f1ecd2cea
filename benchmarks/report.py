"""The results of a run, as Markdown for people and as JSON with every raw number."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from benchmarks import quiet, targets
from benchmarks.parts import PARTS
from benchmarks.plan import FULL, Plan
from benchmarks.samples import Sample

FEWEST_ROUNDS = 3
SHORTEST_SECONDS = 1.0


def write(
    directory: Path, machine: dict[str, str], plan: Plan, command: str, samples: Sequence[Sample]
) -> None:
    """Write server.md and server.json into the directory."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "server.md").write_text(markdown(machine, plan, command, samples))
    (directory / "server.json").write_text(raw(machine, plan, command, samples))


def markdown(machine: dict[str, str], plan: Plan, command: str, samples: Sequence[Sample]) -> str:
    """Return the whole report."""
    return f"""# Framed echo: epollo beside its peers and the limit

Written by `{command}`.

{provenance(machine)}

{tables(plan, samples)}
"""


def provenance(machine: dict[str, str]) -> str:
    """Return the machine and the software as a list."""
    return "\n".join(f"- {heading}: {value}" for heading, value in machine.items())


def tables(plan: Plan, samples: Sequence[Sample]) -> str:
    """Return the targets, and the tables of each part."""
    parts = [PARTS[name].report(plan, samples) for name in plan.parts]
    counted = quiet.summary([sample.values for sample in samples])
    return "\n\n".join([method(plan), counted, targets.report(samples), *parts])


def method(plan: Plan) -> str:
    """Return what the figures are, and a warning when the run was too short to be quoted."""
    text = (
        f"A figure is the median of {plan.rounds} rounds (sweeps and memory: at most 3) of"
        f" {plan.seconds:g} s, with the lowest and the highest in brackets; servers take turns,"
        " and a ratio is taken within a round. Loops are closed where nothing else is said, on"
        f" {plan.scale.connections} connections."
    )
    missing = [f"{server.label} ({server.missing})" for server in plan.servers if server.missing]
    if missing:
        text += f" Not measured: {', '.join(missing)}."
    short = plan.rounds < FEWEST_ROUNDS or plan.seconds < SHORTEST_SECONDS
    if short or plan.scale != FULL:
        text += (
            f" **Not to be quoted: fewer than {FEWEST_ROUNDS} rounds of {SHORTEST_SECONDS:g} s,"
            " or not at full scale.**"
        )
    return text


def raw(machine: dict[str, str], plan: Plan, command: str, samples: Sequence[Sample]) -> str:
    """Return every number of the run as JSON."""
    document = {
        "machine": machine,
        "command": command,
        "plan": {"rounds": plan.rounds, "seconds": plan.seconds, "warmup": plan.warmup},
        "scale": asdict(plan.scale),
        "samples": [asdict(sample) for sample in samples],
    }
    return json.dumps(document, indent=1) + "\n"
