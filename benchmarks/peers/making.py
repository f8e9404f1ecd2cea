"""How each program is compiled, into a folder of the build."""

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from benchmarks.build import BUILD
from benchmarks.errors import BenchmarkError

PROGRAMS = Path(__file__).parent / "programs"
FOLDER = BUILD / "peers"
JARS = Path("/usr/share/java")
CRATES = Path("/usr/share/cargo/registry")
LONGEST = 600  # seconds, for a compiler

CARGO_CONFIG = f"""\
[source.crates-io]
replace-with = "debian"
[source.debian]
directory = "{CRATES}"
"""


def fresh(made: Path, *sources: str) -> bool:
    """Is what was made newer than its sources?"""
    newest = max((PROGRAMS / name).stat().st_mtime for name in sources)
    return made.exists() and made.stat().st_mtime > newest


def compile_with(command: Sequence[str], what: str, cwd: Path | None = None) -> None:
    """Run a compiler.

    Raises:
        BenchmarkError: it fails; its first line about an error is why.
    """
    environment = {**os.environ, "GO111MODULE": "off"}
    try:
        done = subprocess.run(
            command, cwd=cwd, env=environment, capture_output=True, text=True, check=False,
            timeout=LONGEST,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise BenchmarkError(f"{what}: {command[0]} takes over {LONGEST} s") from None
    if done.returncode != 0:
        lines = (done.stderr or done.stdout).splitlines()
        errors = [line for line in lines if "error" in line.lower()]
        raise BenchmarkError(f"{what}: {command[0]}: {(errors or lines or ['failed'])[0].strip()}")


def libuv() -> None:
    """Compile the server on libuv."""
    made = FOLDER / "libuv_echo"
    if not fresh(made, "libuv_echo.c"):
        source = str(PROGRAMS / "libuv_echo.c")
        compile_with(["cc", "-O2", "-o", str(made), source, "-luv"], "libuv_echo.c")


def golang() -> None:
    """Compile the server in Go."""
    made = FOLDER / "go_echo"
    if not fresh(made, "echo.go"):
        compile_with(["go", "build", "-o", str(made), str(PROGRAMS / "echo.go")], "echo.go")


def erlang() -> None:
    """Compile the server in Erlang."""
    if not fresh(FOLDER / "echo.beam", "echo.erl"):
        compile_with(["erlc", "-o", str(FOLDER), str(PROGRAMS / "echo.erl")], "echo.erl")


def classpath() -> str:
    """Return the jars of Netty, without the versions of them under a second name."""
    jars = [jar for jar in sorted(JARS.glob("netty-*.jar")) if not jar.stem[-1].isdigit()]
    unversioned = [jar for jar in jars if not jar.stem.endswith(".Final")]
    return ":".join(map(str, [FOLDER, *unversioned]))


def netty() -> None:
    """Compile the server on Netty."""
    if not fresh(FOLDER / "Echo.class", "Echo.java"):
        command = ["javac", "-d", str(FOLDER), "-cp", classpath(), str(PROGRAMS / "Echo.java")]
        compile_with(command, "Echo.java")


def tokio() -> None:
    """Compile the server on tokio, with Debian's crates; a minute or more, the first time."""
    made = FOLDER / "tokio" / "target" / "release" / "tokio_echo"
    if fresh(made, "tokio_echo.rs", "Cargo.toml"):
        return
    folder = FOLDER / "tokio"
    (folder / ".cargo").mkdir(parents=True, exist_ok=True)
    (folder / ".cargo" / "config.toml").write_text(CARGO_CONFIG)
    for name in ("tokio_echo.rs", "Cargo.toml"):
        shutil.copyfile(PROGRAMS / name, folder / name)
    compile_with(["cargo", "build", "--release", "--offline"], "tokio_echo.rs", folder)


def nothing() -> None:
    """A program that is run from its source."""
