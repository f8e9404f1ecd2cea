"""Do mypy and pyright find what is wrong in wrong/*.py, and nothing in right/*.py?

python -m tests.typing

Each line of a program that ends with ``# wrong`` has an error, and no other line has one. Both run
in their strict form, each as one process. basedpyright is pyright with its own Node.js.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

HERE = Path(__file__).parent
PROGRAMS = sorted((HERE / "right").glob("*.py")) + sorted((HERE / "wrong").glob("*.py"))

Lines: TypeAlias = set[tuple[str, int]]


def main() -> int:
    failed = False
    for name, errors_of in CHECKERS.items():
        found, expected = errors_of(), expected_errors()
        for program, line in sorted(found - expected):
            print(f"{program}:{line}: {name} finds an error where there is none")
        for program, line in sorted(expected - found):
            print(f"{program}:{line}: {name} does not find the error")
        print(f"{name}: {len(found & expected)} of {len(expected)} errors found")
        failed = failed or found != expected
    return int(failed)


def expected_errors() -> Lines:
    return {
        (_short(program), number)
        for program in PROGRAMS
        for number, line in enumerate(program.read_text().splitlines(), 1)
        if line.endswith("  # wrong")
    }


def mypy_errors() -> Lines:
    options = ["--strict", "--explicit-package-bases", "--config-file="]
    output = _run("mypy", *options, *map(str, PROGRAMS))
    found = re.findall(r"^(.+?):(\d+): error", output, re.MULTILINE)
    return {(_short(path), int(number)) for path, number in found}


def pyright_errors() -> Lines:
    options = ["--project", str(HERE), "--pythonpath", sys.executable, "--outputjson"]
    output = json.loads(_run("basedpyright", *options))
    return {
        (_short(found["file"]), found["range"]["start"]["line"] + 1)
        for found in output["generalDiagnostics"]
        if found["severity"] == "error"
    }


CHECKERS: dict[str, Callable[[], Lines]] = {"mypy": mypy_errors, "pyright": pyright_errors}


def _run(command: str, *arguments: str) -> str:
    """What the command prints. Raises RuntimeError if it cannot do its work."""
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "MYPYPATH": str(HERE.parents[1] / "src"),
    }
    done = subprocess.run(
        [command, *arguments], capture_output=True, text=True, check=False, env=environment
    )
    if done.returncode not in (0, 1):  # 1: there are errors
        raise RuntimeError(f"{command}: {done.stdout}{done.stderr}")
    return done.stdout


def _short(path: str | Path) -> str:
    return str(Path(path).resolve().relative_to(HERE))


if __name__ == "__main__":
    sys.exit(main())
