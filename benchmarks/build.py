"""The C programs: where they are, and how they get there."""

import shutil
import subprocess
from pathlib import Path

from benchmarks.errors import BenchmarkError

SOURCES = Path(__file__).parent / "c"
BUILD = Path(__file__).parent / "build"

ECHO_SERVER = BUILD / "echo_server"
LOAD = BUILD / "load"
CHURN = BUILD / "churn"
IDLE = BUILD / "idle"
CALLGRIND = BUILD / "callgrind.so"
PROGRAMS = (ECHO_SERVER, LOAD, CHURN, IDLE)


def build(program: Path) -> None:
    """Compile the C program, unless it is newer than its source and every header.

    Raises:
        BenchmarkError: there is no compiler, or it refuses the source.
    """
    source = SOURCES / f"{program.name}.c"
    newest = max(path.stat().st_mtime for path in (source, *SOURCES.glob("*.h")))
    if not program.exists() or program.stat().st_mtime < newest:
        BUILD.mkdir(exist_ok=True)
        compile_source(source, program)


def build_library(library: Path) -> None:
    """Compile a shared library; otherwise like `build`."""
    BUILD.mkdir(exist_ok=True)
    compile_source(SOURCES / f"{library.stem}.c", library, "-shared", "-fPIC")


def compile_source(source: Path, program: Path, *options: str) -> None:
    """Compile one source file, quietly when it succeeds."""
    compiler = shutil.which("cc")
    if compiler is None:
        raise BenchmarkError("no C compiler: install one that is called cc, such as gcc")
    command = [compiler, "-O2", *options, "-o", str(program), str(source)]
    completed = subprocess.run(command, capture_output=True, text=True, check=False)
    if completed.returncode != 0:
        reason = next((line for line in completed.stderr.splitlines() if "error" in line), "failed")
        raise BenchmarkError(f"cc {source.name}: {reason}")
