"""The command `python -m benchmarks`."""

import argparse
import shutil
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks import build, machine, report
from benchmarks.errors import BenchmarkError
from benchmarks.measure import Measurement, Plan, measure
from benchmarks.servers import SERVERS, Server, select

RESULTS = Path(__file__).parent / "results"
QUICK_RESULTS = build.BUILD / "quick"


def servers(text: str) -> tuple[Server, ...]:
    """Parse the value of --only."""
    try:
        return select(text.split(","))
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


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
    options.add_argument("--rounds", type=count, default=5, help="turns of every server")
    options.add_argument("--seconds", type=float, default=2.0, help="window of a measurement")
    options.add_argument("--warmup", type=float, default=0.5, help="seconds before the window")
    options.add_argument(
        "--only", type=servers, default=SERVERS, metavar="NAME[,NAME]", help="and the limit"
    )
    options.add_argument("--output", type=Path, metavar="DIR", help="default: benchmarks/results")
    options.add_argument(
        "--quick",
        action="store_true",
        help="one round of 0.3 s, to see that all works; results go to benchmarks/build/quick",
    )
    return options


def make_plan(arguments: argparse.Namespace) -> Plan:
    """Return what the command line asks for."""
    if arguments.quick:
        return Plan(arguments.only, rounds=1, seconds=0.3, warmup=0.1)
    return Plan(arguments.only, arguments.rounds, arguments.seconds, arguments.warmup)


def prepare() -> None:
    """Raise BenchmarkError unless the run can begin; compile what is to be compiled."""
    if shutil.which("taskset") is None:
        raise BenchmarkError("no taskset, which keeps a process on one core: install util-linux")
    build.build(build.ECHO_SERVER)
    build.build(build.LOAD)


def run(plan: Plan) -> list[Measurement]:
    """Measure, and say so line by line."""
    measurements = []
    for done in measure(plan):
        measurements.append(done)
        print(
            f"round {done.round}/{plan.rounds}  {done.point!s:<35}  {done.server.label:<24}"
            f"{done.load.rate:>12,.0f} messages/s",
            flush=True,
        )
    return measurements


def main(command_line: Sequence[str] | None = None) -> int:
    """Run the benchmarks; return 0, 1 when the run failed, or 130 when it was interrupted."""
    arguments = parser().parse_args(command_line)
    plan = make_plan(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        prepare()
        measurements = run(plan)
    except BenchmarkError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("benchmarks: interrupted", file=sys.stderr)
        return 130
    output = arguments.output or (QUICK_RESULTS if arguments.quick else RESULTS)
    report.write(output, machine.describe(), plan, measurements)
    print(f"\n{report.tables(plan, measurements)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
