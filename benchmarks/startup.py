"""CPU time of starting: `import epollo` and `epollo --help`, as multiples of Python's own start.

python -m benchmarks.startup [--runs 31]

Prints the median of the CPU time (user and system) of each, measured in turns, and its ratio to
`python -c pass`; with perf(1), also the instructions in user space and their ratio. Modules are
compiled beforehand, into a folder of this program's own.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from statistics import median
from tempfile import TemporaryDirectory

from benchmarks.__main__ import count
from benchmarks.errors import BenchmarkError
from benchmarks.process import ROOT

HELP = "import sys; sys.argv = ['epollo', '--help']; from epollo_command import main; main()"
CASES = {
    "python -c pass": "pass",
    "import epollo": "import epollo",
    "epollo --help": HELP,
}
LIMITS = {"import epollo": 2, "epollo --help": 7}  # times the first

_INSTRUCTIONS = re.compile(r"^(\d+),.*instructions", re.MULTILINE)

Measure = Callable[[list[str], dict[str, str]], float]


def cpu_milliseconds(command: list[str], environment: dict[str, str]) -> float:
    """Return the CPU time of a run.

    Raises:
        BenchmarkError: it failed.
    """
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise BenchmarkError(f"{command[-1]!r} ended with status {process.returncode}")
    return (usage.ru_utime + usage.ru_stime) * 1e3


def instructions(command: list[str], environment: dict[str, str]) -> float:
    """Return the instructions in user space of a run, in millions; 0 if they cannot be counted."""
    perf = ["perf", "stat", "-x,", "-e", "instructions:u", *command]
    run = subprocess.run(perf, env=environment, capture_output=True, text=True, check=False)
    found = _INSTRUCTIONS.search(run.stderr)
    return int(found[1]) / 1e6 if found else 0.0


def measure(how: Measure, runs: int, environment: dict[str, str]) -> dict[str, float]:
    """Return the median of each case, measured in turns."""
    figures: dict[str, list[float]] = {case: [] for case in CASES}
    for _ in range(runs):
        for case, code in CASES.items():
            figures[case].append(how([sys.executable, "-c", code], environment))
    return {case: median(values) for case, values in figures.items()}


def show(figures: dict[str, float], unit: str) -> None:
    """Print a line for each case."""
    first = next(iter(figures.values()))
    for case, value in figures.items():
        limit = f"  (at most {LIMITS[case]})" if case in LIMITS else ""
        print(f"{case:<16} {value:8.1f} {unit}  {value / first:5.2f}{limit}", flush=True)


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.startup",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--runs", type=count, default=31, help="of each case")
    options = parser.parse_args()
    with TemporaryDirectory() as folder:
        environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
        environment |= {"PYTHONPYCACHEPREFIX": folder, "PYTHONHASHSEED": "0"}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        try:
            measure(cpu_milliseconds, 1, environment)  # compiles
            show(measure(cpu_milliseconds, options.runs, environment), "ms of CPU")
            counted = measure(instructions, 3, environment) if shutil.which("perf") else {}
        except BenchmarkError as error:
            sys.exit(f"startup: {error}")
        if all(counted.values()) and counted:
            show(counted, "M instructions")


if __name__ == "__main__":
    main()
