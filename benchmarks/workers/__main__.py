"""The command `python -m benchmarks.workers`."""

import argparse
import shutil
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks import build, machine
from benchmarks.__main__ import QUICK_RESULTS, RESULTS, count
from benchmarks.errors import BenchmarkError
from benchmarks.workers import page
from benchmarks.workers.cases import Case, Plan, Values, measure, turns
from benchmarks.workers.page import Found
from benchmarks.workers.servers import Variant, calibrate

ATTEMPTS = 3
CALIBRATION = 0.2  # seconds, before each measurement


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    options = argparse.ArgumentParser(
        prog="python -m benchmarks.workers",
        description="Measure how workers share connections, and what a second core brings.",
    )
    options.add_argument("--rounds", type=count, default=5, help="turns of every server")
    options.add_argument("--seconds", type=float, default=1.2, help="window of a measurement")
    options.add_argument("--warmup", type=float, default=0.4, help="seconds before the window")
    options.add_argument(
        "--output", type=Path, metavar="DIR",
        help="for the results; default: benchmarks/results, and benchmarks/build if --quick",
    )  # fmt: skip
    options.add_argument(
        "--quick", action="store_true", help="one round of half a second, to see that all works"
    )
    return options


def prepare() -> None:
    """Raise BenchmarkError unless the run can begin; compile the load generators."""
    if shutil.which("taskset") is None:
        raise BenchmarkError("no taskset: on Debian, apt install util-linux")
    machine.allow_descriptors()
    for program in (build.LOAD, build.CHURN):
        build.build(program)


def describe() -> dict[str, str]:
    """Return the machine and the software, by heading."""
    wanted = ("date", "kernel", "CPU", "cores", "Python", "epollo")
    return {name: value for name, value in machine.describe().items() if name in wanted}


def take(case: Case, variant: Variant, number: int, plan: Plan) -> Found:
    """Return what one server shows in one case, and how busy the machine was just before."""
    outside = max(calibrate(core, CALIBRATION) for core in plan.cores)
    values = attempts(case, variant, plan)
    values |= {"outside": outside}
    return Found(case.part, case.name, variant.name, number, values)


def attempts(case: Case, variant: Variant, plan: Plan) -> Values:
    """Return what is measured. On a busy machine a short window may see nothing: then once more.

    Raises:
        BenchmarkError: it failed each time.
    """
    for left in reversed(range(ATTEMPTS)):
        try:
            return measure(case, variant, plan)
        except BenchmarkError as error:
            if not left:
                raise
            print(f"once more: {error}", flush=True)
    raise AssertionError


def line(found: Found) -> str:
    """Return the line about one measurement."""
    keys = ("rate", "cpu_us", "busiest", "late", "most_ms")
    shown = "  ".join(f"{key} {found.values[key]:,.2f}" for key in keys if key in found.values)
    return f"round {found.round}  {found.part:<12} {found.case:<26} {found.server:<18} {shown}"


def run(plan: Plan) -> list[Found]:
    """Measure, and say so line by line."""
    found = []
    for number in range(1, plan.rounds + 1):
        for case, variant in turns():
            found.append(take(case, variant, number, plan))
            print(line(found[-1]), flush=True)
    return found


def main(command_line: Sequence[str]) -> int:
    """Run it; return 0, 1 if the run failed, or 130 if it was interrupted."""
    options = parser().parse_args(command_line)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        prepare()
        rounds, seconds, warmup = (
            (1, 0.5, 0.2) if options.quick else (options.rounds, options.seconds, options.warmup)
        )
        plan = Plan(rounds, seconds, warmup, machine.cores())
        found = run(plan)
    except BenchmarkError as error:
        print(f"workers: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("workers: interrupted", file=sys.stderr)
        return 130
    folder = options.output or (QUICK_RESULTS if options.quick else RESULTS)
    command = " ".join(["python -m benchmarks.workers", *command_line])
    page.write(folder, describe(), command, plan, found)
    print(f"\n{page.tables(found)}\n\nwritten to {folder}/{page.NAME}.md")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
