"""The command `python -m benchmarks`."""

import argparse
import shutil
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from benchmarks import build, certificate, compiled, machine, plots, points, quiet, report, servers
from benchmarks.errors import BenchmarkError
from benchmarks.parts import PARTS, forms
from benchmarks.plan import FULL, TINY, Plan
from benchmarks.points import POINTS
from benchmarks.samples import Sample
from benchmarks.servers import SERVERS

RESULTS = Path(__file__).parent / "results"
IMAGES = Path(__file__).parent.parent / "docs" / "images"
QUICK_RESULTS = build.BUILD / "quick"
PARTIAL_RESULTS = build.BUILD / "partial"

Names = TypeVar("Names")


def names(select: Callable[[list[str]], Names]) -> Callable[[str], Names]:
    """Return a parser of names separated by commas."""

    def parse(text: str) -> Names:
        try:
            return select(text.split(","))
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return parse


def select_parts(wanted: list[str]) -> tuple[str, ...]:
    """Return the named parts, in their order."""
    unknown = set(wanted) - PARTS.keys()
    if unknown:
        raise ValueError(f"no part is called {', '.join(unknown)}; there are {', '.join(PARTS)}")
    return tuple(name for name in PARTS if name in wanted)


def count(text: str) -> int:
    """Parse a number of rounds."""
    value = int(text)
    if value < 1:
        raise ValueError
    return value


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    options = argparse.ArgumentParser(
        prog="python -m benchmarks", description="Measure epollo beside its peers and the limit."
    )
    several = "NAME[,NAME]"
    options.add_argument("--rounds", type=count, default=5, help="turns of every server")
    options.add_argument("--seconds", type=float, default=1.0, help="window of a measurement")
    options.add_argument("--warmup", type=float, default=0.3, help="seconds before the window")
    options.add_argument(
        "--parts", type=names(select_parts), metavar=several, help=f"of {', '.join(PARTS)}"
    )
    options.add_argument(
        "--only", type=names(servers.select), default=SERVERS, metavar=several,
        help="these servers, and the limit",
    )  # fmt: skip
    options.add_argument(
        "--points", type=names(points.select), metavar=several,
        help=f"of {', '.join(point.name for point in POINTS)}; the table alone, and these of it",
    )  # fmt: skip
    options.add_argument(
        "--output", type=Path, metavar="DIR",
        help="for results and pictures; default: benchmarks/results and docs/images when all is"
        " measured, benchmarks/build when not",
    )  # fmt: skip
    options.add_argument(
        "--quick", action="store_true",
        help="one round of 0.3 s of everything, tiny, to see that all works",
    )  # fmt: skip
    return options


def make_plan(arguments: argparse.Namespace) -> Plan:
    """Return what the command line asks for."""
    parts = arguments.parts or (("table",) if arguments.points else tuple(PARTS))
    chosen = (arguments.only, parts, arguments.points or POINTS)
    if arguments.quick:
        return Plan(*chosen, rounds=1, seconds=0.3, warmup=0.1, scale=TINY)
    return Plan(*chosen, arguments.rounds, arguments.seconds, arguments.warmup, FULL)


def places(arguments: argparse.Namespace, plan: Plan) -> tuple[Path, Path]:
    """Return where results and pictures go: nothing but a whole run replaces a measurement."""
    if arguments.output is not None:
        return arguments.output, arguments.output
    if arguments.quick:
        return QUICK_RESULTS, QUICK_RESULTS
    if (plan.servers, plan.parts, plan.points) != (SERVERS, tuple(PARTS), POINTS):
        return PARTIAL_RESULTS, PARTIAL_RESULTS
    return RESULTS, IMAGES


def prepare(plan: Plan) -> None:
    """Raise BenchmarkError unless the run can begin; compile what is to be compiled."""
    if shutil.which("taskset") is None:
        raise BenchmarkError("no taskset, which keeps a process on one core: install util-linux")
    if servers.UVLOOP_PROTOCOL.missing:
        raise BenchmarkError("uvloop is what others are compared with: pip install uvloop")
    machine.allow_descriptors()
    for program in build.PROGRAMS:
        build.build(program)
    certificate.make()
    if forms.NAME in plan.parts:
        compiled.build_all()
    for server in plan.servers:
        if server.missing:
            print(f"skipped: {server.label}: {server.missing}", flush=True)


def run(plan: Plan) -> list[Sample]:
    """Measure, and say so line by line."""
    samples = []
    for name in plan.parts:
        for sample in PARTS[name].samples(plan):
            samples.append(sample)
            print(line(sample), flush=True)
    return samples


def line(sample: Sample) -> str:
    """Return the line about one measurement."""
    shown = ("rate", "p99_us") if "rate" in sample.values else tuple(sample.values)[-1:]
    values = "  ".join(f"{name} {sample.values[name]:>11,.0f}" for name in shown)
    if quiet.SERVER_WAITED in sample.values:
        values += f"  waited {quiet.waited(sample.values):.1%}"
    where = f"round {sample.round}  {sample.part:<7} {sample.case:<18}"
    return f"{where} {sample.server:<24} {values}"


def command(arguments: Sequence[str]) -> str:
    """Return the command line as it was typed."""
    return " ".join(["python -m benchmarks", *arguments])


def main(command_line: Sequence[str]) -> int:
    """Run the benchmarks; return 0, 1 when the run failed, or 130 when it was interrupted."""
    arguments = parser().parse_args(command_line)
    plan = make_plan(arguments)
    results, images = places(arguments, plan)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        prepare(plan)
        samples = run(plan)
    except BenchmarkError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("benchmarks: interrupted", file=sys.stderr)
        return 130
    report.write(results, machine.describe(), plan, command(command_line), samples)
    plots.draw(images, plan, samples)
    print(f"\n{report.tables(plan, samples)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
