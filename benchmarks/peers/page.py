"""The results, as Markdown for people and as JSON with every raw number."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from benchmarks import markdown, quiet
from benchmarks.instructions import DEPTHS
from benchmarks.peers.catalogue import LIBUV, TOKIO
from benchmarks.plan import Plan
from benchmarks.points import HUGE, PIPELINED, Point
from benchmarks.report import method, provenance
from benchmarks.samples import Figure, Sample, Series
from benchmarks.servers import FORMS, IN_PLACE, LIMIT, Server

NAME = "peers"
OURS = FORMS[:2]  # the native engine with each form of function
LEVEL = (LIBUV.server.name, TOKIO.server.name)  # to be level with, but at what is not asked for
NOT_ASKED = (PIPELINED, HUGE)


@dataclass(frozen=True, slots=True)
class Results:
    """What a run has found: the plan, the samples, and by the server's name its version and its
    instructions for each message by depth; why some of the servers were not measured."""

    plan: Plan
    samples: Sequence[Sample]
    versions: Mapping[str, str]
    instructions: Mapping[str, Mapping[int, float]]
    left_out: Sequence[str]


def write(folder: Path, machine: dict[str, str], command: str, results: Results) -> None:
    """Write both files into the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    document = {
        "machine": machine,
        "command": command,
        "plan": {key: getattr(results.plan, key) for key in ("rounds", "seconds", "warmup")},
        "versions": dict(results.versions),
        "instructions": {name: dict(found) for name, found in results.instructions.items()},
        "left_out": list(results.left_out),
        "samples": [asdict(sample) for sample in results.samples],
    }
    (folder / f"{NAME}.json").write_text(json.dumps(document, indent=1) + "\n")
    (folder / f"{NAME}.md").write_text(page(machine, command, results))


def page(machine: dict[str, str], command: str, results: Results) -> str:
    """Return the page."""
    return f"""# Framed echo: epollo beside servers in other languages

Written by `{command}`.

{provenance(machine)}

{warm_up(results.plan.warmup)}

{tables(results)}
"""


def warm_up(seconds: float) -> str:
    """Say whom the warm-up is too short for."""
    return (
        f"A window begins {seconds:g} s after the load. Code that is compiled while it runs, as by "
        "a JVM, takes some seconds to become fast: `--only netty --warmup 5` is fair to Netty."
    )


def tables(results: Results) -> str:
    """Return all of the page but its head."""
    left_out = "\n".join(f"- not measured: {line}" for line in results.left_out)
    return "\n\n".join(
        filter(
            None,
            [
                method(results.plan),
                quiet.summary([sample.values for sample in results.samples]),
                left_out,
                ratios(results),
                verdicts(results),
                costs(results),
                rates(results),
            ],
        )
    )


def rate(server: Server, point: Point) -> Series:
    """Return the series of a server's rates at a point."""
    return Series(NAME, point.name, server)


def ratios(results: Results) -> str:
    """Tabulate the ratios to the limit, and the versions."""
    points = results.plan.points
    rows = [
        [
            server.label,
            results.versions.get(server.name, markdown.NONE),
            *(
                markdown.ratio(rate(server, p).over(rate(LIMIT, p), results.samples))
                for p in points
            ),
        ]
        for server in results.plan.servers
    ]
    header = ["server", "version, and its day", *map(str, points)]
    return markdown.section(
        f"Messages per second, as ratio to {LIMIT.label}", markdown.table(header, rows)
    )


def verdicts(results: Results) -> str:
    """Tabulate epollo's ratios to each peer."""
    rows = []
    for peer in results.plan.servers:
        if peer in (LIMIT, IN_PLACE) or peer.name.startswith("epollo"):
            continue
        for ours in OURS:
            cells = [verdict(ours, peer, point, results.samples) for point in results.plan.points]
            rows.append([f"{ours.label}, to {peer.label}", *cells])
    text = (
        "In brackets the lowest and the highest round. The target is met if the whole interval is"
        " above 1; for libuv and tokio, at depth 1, if it contains 1 or is above."
    )
    header = ["", *map(str, results.plan.points)]
    return markdown.section("epollo's ratio to each", text, markdown.table(header, rows))


def verdict(ours: Server, peer: Server, point: Point, samples: Sequence[Sample]) -> str:
    """Return the ratio and whether the target is met, as a cell."""
    ratio = rate(ours, point).over(rate(peer, point), samples)
    if ratio is None:
        return markdown.NONE
    met = is_met(peer, point, ratio)
    word = "" if met is None else ", met" if met else ", NOT met"
    return f"{markdown.ratio(ratio)}{word}"


def is_met(peer: Server, point: Point, ratio: Figure) -> bool | None:
    """Is the target met? None: there is none."""
    if peer.name in LEVEL:
        return None if point in NOT_ASKED else ratio.highest >= 1
    return ratio.lowest > 1


def costs(results: Results) -> str:
    """Tabulate the CPU time of each message, and the instructions."""
    points = results.plan.points
    rows = [
        [
            server.label,
            *(
                markdown.ratio(replace(rate(server, p), value="cpu_us").figure(results.samples))
                for p in points
            ),
            *(counted(results, server, depth) for depth in DEPTHS),
        ]
        for server in results.plan.servers
    ]
    text = (
        "The server's CPU time for each message in microseconds, the kernel's part included; and"
        " its instructions in user space as callgrind counts them, where it can follow the program:"
        " not where code is made while it runs."
    )
    header = ["server", *(f"CPU, {point}" for point in points)]
    header += [f"instructions, depth {depth}" for depth in DEPTHS]
    return markdown.section("What a message costs the server", text, markdown.table(header, rows))


def counted(results: Results, server: Server, depth: int) -> str:
    """Return the instructions as a cell."""
    found = results.instructions.get(server.name, {})
    return f"{found[depth]:,.0f}" if depth in found else markdown.NONE


def rates(results: Results) -> str:
    """Tabulate the median rates."""
    rows = [
        [
            s.label,
            *(markdown.median(rate(s, p).figure(results.samples)) for p in results.plan.points),
        ]
        for s in results.plan.servers
    ]
    header = ["server", *map(str, results.plan.points)]
    return markdown.section("Messages per second", markdown.table(header, rows))
