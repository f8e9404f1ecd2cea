"""How long `make demo` takes on a fresh clone: this tree's last commit and a revision, in turns.

python -m benchmarks.demo REVISION [--rounds 3]

Prints, for each round, the wall time and the CPU time of both, and at the end the ratio of the wall
times, this tree's to the revision's, as the median of the rounds. It needs what `make demo` needs,
the network too; pip's cache is filled before the first round.
"""

import argparse
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from statistics import median
from tempfile import TemporaryDirectory, TemporaryFile

from benchmarks.__main__ import count
from benchmarks.errors import BenchmarkError
from benchmarks.process import ROOT

UNSET = ("PYTHONPATH", "VIRTUAL_ENV", "EPOLLO_NATIVE", "CFLAGS", "LDFLAGS", "MAKEFLAGS")


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds of one `make demo`."""

    wall: float
    cpu: float


def git(*arguments: str) -> str:
    """Return what a git command prints."""
    command = ["git", *arguments]
    completed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if completed.returncode != 0:
        raise BenchmarkError(f"git {arguments[0]}: {completed.stderr.strip()}")
    return completed.stdout.strip()


def demo(commit: str) -> Times:
    """Run `make demo` in a fresh clone of the commit.

    Raises:
        BenchmarkError: it failed; with its last line.
    """
    with TemporaryDirectory() as folder, TemporaryFile() as output:
        git("clone", "--quiet", "--no-checkout", str(ROOT), folder)
        git("-C", folder, "checkout", "--quiet", commit)
        environment = {name: text for name, text in os.environ.items() if name not in UNSET}
        began = time.monotonic()
        process = subprocess.Popen(
            ["make", "demo"], cwd=folder, env=environment, stdout=output, stderr=output
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        wall = time.monotonic() - began
        if process.returncode != 0:
            output.seek(0)
            lines = output.read().decode(errors="replace").splitlines()
            raise BenchmarkError(f"make demo on {commit[:12]}: {(lines or ['no output'])[-1]}")
    return Times(wall, usage.ru_utime + usage.ru_stime)


def compare(revision: str, rounds: int) -> None:
    """Print a line for each round, and the ratio."""
    commits = {
        name: git("rev-parse", "--verify", f"{source}^{{commit}}")
        for name, source in (("this tree", "HEAD"), (revision, revision))
    }
    demo(commits["this tree"])  # fills pip's cache
    ratios = []
    for number in range(rounds):
        order = list(commits) if number % 2 else list(commits)[::-1]
        times = {name: demo(commits[name]) for name in order}
        ratios.append(times["this tree"].wall / times[revision].wall)
        for name in commits:
            print(f"round {number + 1}  {name:<12} {show(times[name])}", flush=True)
    spread = f"{min(ratios):.2f} to {max(ratios):.2f}, {rounds} rounds"
    print(f"this tree takes {median(ratios):.2f} of the time of {revision} ({spread})")


def show(times: Times) -> str:
    """Return both times as text."""
    return f"{times.wall:6.1f} s  {times.cpu:6.1f} s of CPU"


def main() -> None:
    """Compare, as the command line says."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.demo",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("revision", help="a commit, branch or tag")
    parser.add_argument("--rounds", type=count, default=3)
    options = parser.parse_args()
    try:
        compare(options.revision, options.rounds)
    except BenchmarkError as error:
        sys.exit(f"demo: {error}")


if __name__ == "__main__":
    main()
