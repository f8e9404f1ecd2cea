"""The command `python -m benchmarks.third_party`."""

import argparse
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from benchmarks import build, machine
from benchmarks.__main__ import RESULTS, count
from benchmarks.errors import BenchmarkError
from benchmarks.load import Window
from benchmarks.process import Running
from benchmarks.third_party import page
from benchmarks.third_party.cases import CASES, Case
from benchmarks.third_party.page import Found
from benchmarks.third_party.servers import require
from benchmarks.third_party.testers import Values

ATTEMPTS = 3
QUICK_RESULTS = build.BUILD / "quick"
PROGRAMS = {
    "sockperf": "sockperf",
    "redis-server": "redis-server",
    "redis-benchmark": "redis-tools",
}


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    options = argparse.ArgumentParser(
        prog="python -m benchmarks.third_party",
        description="Measure servers with epollo bench, sockperf and redis-benchmark.",
    )
    options.add_argument("--rounds", type=count, default=5, help="turns of every pair")
    options.add_argument("--seconds", type=float, default=2.0, help="window of a measurement")
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
    """Raise BenchmarkError unless the run can begin."""
    require("taskset", "util-linux")
    for program, package in PROGRAMS.items():
        require(program, package)


def describe() -> dict[str, str]:
    """Return the machine and the software, by heading."""
    wanted = ("date", "kernel", "CPU", "cores", "Python", "epollo")
    described = machine.describe()
    return {name: described[name] for name in wanted} | {
        "sockperf": first_line("sockperf", "--version"),
        "redis-server": first_line("redis-server", "--version"),
        "redis-benchmark": first_line("redis-benchmark", "--version"),
    }


def first_line(*command: str) -> str:
    """Return the version in the first line that a program prints."""
    path = shutil.which(command[0])
    assert path is not None
    done = subprocess.run([path, *command[1:]], capture_output=True, text=True, check=False)
    words = done.stdout.replace(",", "").split("\n")[0].split()
    return next(word.removeprefix("v=") for word in words if any(map(str.isdigit, word)))


def measure(case: Case, number: int, server_core: int, window: Window) -> Iterator[Found]:
    """Yield what both testers of a case see in one round."""
    with case.serve(server_core) as running:
        for name, tester in case.pair if number % 2 else case.pair[::-1]:
            values = attempts(partial(tester, running.port, window), running)
            yield Found(case.name, case.other, name, number, values)


def attempts(tester: Callable[[], Values], running: Running) -> Values:
    """Return what a tester sees, and the part of the time for which the server was ready to run and
    had no core. On a busy machine sockperf may end before its last replies have come: then once
    more.

    Raises:
        BenchmarkError: it failed each time.
    """
    for left in reversed(range(ATTEMPTS)):
        waited, begin = running.waited, time.monotonic()
        try:
            values = tester()
        except BenchmarkError as error:
            if not left:
                raise
            print(f"once more: {error}", flush=True)
            continue
        return values | {"waited": (running.waited - waited) / (time.monotonic() - begin)}
    raise AssertionError


def line(found: Found) -> str:
    """Return the line about one measurement."""
    values = "  ".join(f"{name} {found.values[name]:>9,.1f}" for name in ("p50_us", "p99_us"))
    where = f"round {found.round}  {found.case:<40} {found.tester:<16}"
    return f"{where} {found.values['rate']:>9,.0f}/s  {values}"


def run(rounds: int, window: Window, server_core: int) -> list[Found]:
    """Measure, and say so line by line."""
    found = []
    for number in range(1, rounds + 1):
        for case in CASES:
            for each in measure(case, number, server_core, window):
                found.append(each)
                print(line(each), flush=True)
    return found


def main(command_line: Sequence[str]) -> int:
    """Run it; return 0, 1 if the run failed, or 130 if it was interrupted."""
    options = parser().parse_args(command_line)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        prepare()
        server_core, tester_core = machine.cores()
        seconds, warmup = (0.5, 0.1) if options.quick else (options.seconds, options.warmup)
        window = Window(seconds, warmup, tester_core)
        found = run(1 if options.quick else options.rounds, window, server_core)
    except BenchmarkError as error:
        print(f"third_party: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("third_party: interrupted", file=sys.stderr)
        return 130
    folder = options.output or (QUICK_RESULTS if options.quick else RESULTS)
    command = " ".join(["python -m benchmarks.third_party", *command_line])
    page.write(folder, describe(), command, window, found)
    print(f"\n{page.tables(found)}\n\nwritten to {folder}/{page.NAME}.md")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
