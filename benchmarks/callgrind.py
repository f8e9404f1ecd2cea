"""Counts of instructions in user space: a Python program runs under callgrind.

It says by calls of the `library` what is counted: ``toggle()`` begins and ends the counting, and
``dump(name)`` writes what was counted since the last dump. `NOTHING` is the name of what the
toggles themselves take.
"""

import ctypes
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from benchmarks import build
from benchmarks.errors import BenchmarkError

NOTHING = "nothing"

_NAME = re.compile(r"^desc: Trigger: Client Request: (.+)$", re.MULTILINE)
_TOTAL = re.compile(r"^(?:totals|summary): (\d+)", re.MULTILINE)
_COST = re.compile(r"^ *([\d,]+) \([^)]*\) +(.+)$", re.MULTILINE)


class Count(NamedTuple):
    """What was counted until one dump of that name."""

    name: str
    instructions: int
    text: str


class Counts:
    """All that a program has counted."""

    def __init__(self, counts: list[Count]) -> None:
        self._counts = counts

    def lowest(self, name: str) -> int:
        """The instructions of the dump of that name that has the fewest.

        Raises:
            BenchmarkError: there is none.
        """
        return self._lowest(name).instructions

    def number(self, name: str) -> int:
        """How many dumps have that name."""
        return sum(count.name == name for count in self._counts)

    def costliest(self, name: str) -> list[tuple[int, str]]:
        """The functions in which most instructions of that dump are, themselves alone, by
        callgrind_annotate.

        Raises:
            BenchmarkError: that is missing, or there is no such dump.
        """
        if shutil.which("callgrind_annotate") is None:
            raise BenchmarkError("no callgrind_annotate, which comes with valgrind")
        with TemporaryDirectory() as folder:
            path = Path(folder, "out")
            path.write_text(self._lowest(name).text)
            command = ["callgrind_annotate", "--threshold=100", str(path)]
            text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        found = [
            (int(cost.replace(",", "")), function.partition(" [")[0])
            for cost, function in _COST.findall(text)
        ]
        # Those that were running when the count began are said to have had all of it.
        most = max((cost for cost, _ in found), default=0)
        return [(cost, function) for cost, function in found if cost < most]

    def _lowest(self, name: str) -> Count:
        counts = [count for count in self._counts if count.name == name]
        if not counts:
            raise BenchmarkError("callgrind has written no counts")
        return min(counts, key=lambda count: count.instructions)


def check() -> None:
    """Build the library.

    Raises:
        BenchmarkError: valgrind, its headers or a C compiler is missing.
    """
    check_valgrind()
    build.build_library(build.CALLGRIND)


def check_valgrind() -> None:
    """Raises BenchmarkError if it is missing."""
    if shutil.which("valgrind") is None:
        raise BenchmarkError("no valgrind, which counts the instructions: apt install valgrind")


def library() -> ctypes.CDLL:
    """What the counted program calls; `check` has built it. It keeps the GIL: no other thread runs
    while a count begins."""
    return ctypes.PyDLL(str(build.CALLGRIND))


def count_nothing(toggle: Callable[[], object], pairs: int) -> None:
    """Count what so many pairs of toggles take themselves, called as those around a turn are."""
    for _ in range(pairs):
        toggle()
        toggle()


def count(module: str, *arguments: str) -> Counts:
    """Run ``python -m MODULE ARGUMENTS`` under callgrind.

    Raises:
        BenchmarkError: as `check`, or the program failed.
    """
    check()
    with TemporaryDirectory() as folder:
        options = ("--tool=callgrind", "--collect-atstart=no", f"--callgrind-out-file={folder}/out")
        _run(["valgrind", "-q", *options, sys.executable, "-m", module, *arguments])
        return Counts([read(path) for path in Path(folder).glob("out.*")])


def _run(command: list[str]) -> None:
    """Run the command, quietly when it succeeds."""
    environment = {**os.environ, "PYTHONHASHSEED": "0"}
    completed = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False
    )
    if completed.returncode != 0:
        last = (completed.stderr.strip().splitlines() or ["no word on stderr"])[-1]
        raise BenchmarkError(f"valgrind ended with status {completed.returncode}: {last}")


def read(path: Path) -> Count:
    """Return what is in one of callgrind's files."""
    text = path.read_text()
    name, total = _NAME.search(text), _TOTAL.search(text)
    return Count(name[1] if name else "", int(total[1]) if total else 0, text)
