"""What a message costs on other interpreters: the same tree, built for each.

    python -m benchmarks.interpreters                      # every one that is found
    python -m benchmarks.interpreters --pythons python3.13,/usr/bin/python3
    python -m benchmarks.interpreters --throughput         # messages a second too, in turns

Prints how each was built, as far as it tells (an interpreter with profile-guided optimisation, PGO,
calls functions faster; Debian's has it, and does not tell), and its instructions per message, which
a busy machine does not change. The throughput is the ratio to the C server, the median of the
rounds with the lowest and the highest.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from benchmarks import build, machine, markdown
from benchmarks.__main__ import count, line
from benchmarks.errors import BenchmarkError
from benchmarks.parts import table
from benchmarks.parts.part import Part, Turn, all_rounds
from benchmarks.plan import Plan
from benchmarks.points import PIPELINED, SMALL
from benchmarks.process import ROOT
from benchmarks.samples import Series
from benchmarks.servers import FORMS, LIMIT, Server

NAME = "interpreters"
FOLDER = build.BUILD / NAME
POINTS = (SMALL, PIPELINED)
USUAL = ("python3.11", "python3.12", "python3.13", "python3.14", "/usr/bin/python3")
ASK = """
import json, platform, sys, sysconfig
flags = sysconfig.get_config_var("CONFIG_ARGS") or ""
print(json.dumps({"path": sys.executable, "version": platform.python_version(),
    "pgo": "--enable-optimizations" in flags, "lto": "--with-lto" in flags,
    "free": bool(sysconfig.get_config_var("Py_GIL_DISABLED"))}))
"""

_COUNTED = re.compile(r"^native engine, (.+), depth (\d+): ([\d,]+) instructions", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Interpreter:
    """An interpreter: its path, its version, and whether it was built with PGO and with LTO, and
    to run without the GIL."""

    path: str
    version: str
    pgo: bool
    lto: bool
    free: bool

    def __str__(self) -> str:
        how = [word for word, is_so in (("PGO", self.pgo), ("LTO", self.lto)) if is_so]
        where = ", Debian's" if self.path.startswith("/usr/bin/") else ""
        free = ", without the GIL" if self.free else ""
        plain = "its build tells no options" if where else "without PGO"
        return f"CPython {self.version}{where}{free} ({' and '.join(how) or plain})"

    @property
    def site(self) -> Path:
        """The folder with epollo and what it needs."""
        return FOLDER / re.sub(r"\W+", "-", f"{self.version}{self.path}")

    @property
    def environment(self) -> dict[str, str]:
        """The environment in which it finds epollo, and the benchmarks."""
        return {**os.environ, "PYTHONPATH": os.pathsep.join([str(self.site), str(ROOT)])}

    def server(self, form: Server) -> Server:
        """Return the server of a form of handler, on this interpreter."""
        path = ("env", f"PYTHONPATH={self.site}{os.pathsep}{ROOT}", self.path)
        return replace(
            form,
            name=f"{self.site.name}-{form.name}",
            label=f"{self}: {form.label}",
            command=(*path, *form.command[1:]),
        )


def interpreter(command: str) -> Interpreter | None:
    """Return what a command starts; None where there is none. A shim of pyenv may be for a version
    that is not chosen: then the newest of that version is taken."""
    found = shutil.which(command)
    minor = command.removeprefix("python")
    roots = sorted(Path.home().glob(f".pyenv/versions/{minor}.*/bin/python"))
    for path in filter(None, [found, *map(str, reversed(roots))]):
        done = subprocess.run([path, "-c", ASK], capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return Interpreter(**json.loads(done.stdout))
    return None


def install(wanted: Interpreter) -> None:
    """Build epollo for the interpreter, anew where the tree has changed since.

    Raises:
        BenchmarkError: it cannot be built for it, such as without Python's headers.
    """
    newest = max(path.stat().st_mtime for path in (ROOT / "src").rglob("*.p*") if path.is_file())
    stamp = wanted.site / "epollo" / "py.typed"
    if stamp.exists() and stamp.stat().st_mtime > newest:
        return
    shutil.rmtree(wanted.site, ignore_errors=True)
    pip = [sys.executable, "-m", "pip", "--python", wanted.path, "install", "--quiet"]
    done = subprocess.run(
        [*pip, "--target", str(wanted.site), str(ROOT)],
        env={**os.environ, "EPOLLO_NATIVE": "require"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        errors = [each for each in done.stderr.splitlines() if "error" in each.lower()]
        raise BenchmarkError(f"{wanted}: {(errors or ['pip failed'])[0].strip()}")
    stamp.touch()


def counted(wanted: Interpreter) -> dict[tuple[str, int], int]:
    """Return the instructions per message by form of handler and depth.

    Raises:
        BenchmarkError: they cannot be counted.
    """
    command = [wanted.path, "-m", "benchmarks.instructions", "native", "--forms"]
    done = subprocess.run(
        command, cwd=ROOT, env=wanted.environment, capture_output=True, text=True, check=False
    )
    found = {
        (form, int(depth)): int(number.replace(",", ""))
        for form, depth, number in _COUNTED.findall(done.stdout)
    }
    if not found:
        raise BenchmarkError(f"{wanted}: {(done.stderr.strip() or 'no counts').splitlines()[-1]}")
    return found


def turns(interpreters: Sequence[Interpreter], plan: Plan, number: int) -> Iterator[Turn]:
    """Yield the turns of a round."""
    forms = [each.server(form) for form in FORMS[:2] for each in interpreters]
    for point in plan.points:
        for server in (LIMIT, *forms):
            yield Turn(point.name, server, partial(table.measure, plan.scale.connections, point))


def throughput(interpreters: Sequence[Interpreter], rounds: int, seconds: float) -> str:
    """Measure, and return a table of ratios to the limit."""
    machine.allow_descriptors()
    for program in (build.ECHO_SERVER, build.LOAD):
        build.build(program)
    plan = Plan((LIMIT,), (NAME,), POINTS, rounds, seconds, 0.3)
    part = Part(NAME, all_rounds, partial(turns, interpreters), lambda _plan, _samples: "")
    samples = []
    for sample in part.samples(plan):
        samples.append(sample)
        print(line(sample), flush=True)
    rows = []
    for server in (each.server(form) for each in interpreters for form in FORMS[:2]):
        series = [(Series(NAME, p.name, server), Series(NAME, p.name, LIMIT)) for p in POINTS]
        rows.append([server.label, *(markdown.ratio(a.over(b, samples)) for a, b in series)])
    return markdown.table(["ratio to the C server", *map(str, POINTS)], rows)


def main() -> int:
    """Print the figures; return 1 if an interpreter had none."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.interpreters",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--pythons", default=",".join(USUAL), metavar="COMMAND[,COMMAND]")
    parser.add_argument("--throughput", action="store_true", help="measure the rates too")
    parser.add_argument("--rounds", type=count, default=5, help="of the rates")
    parser.add_argument("--seconds", type=float, default=1.0, help="of one measurement")
    options = parser.parse_args()
    status = 0
    installed = []
    for command in options.pythons.split(","):
        found = interpreter(command)
        if found is None:
            print(f"not measured: {command}: there is none")
            continue
        try:
            install(found)
            counts = counted(found)
        except BenchmarkError as error:
            print(f"not measured: {error}", flush=True)
            status = 1
            continue
        installed.append(found)
        for (form, depth), number in counts.items():
            print(f"{found}, {form}, depth {depth}: {number:,} instructions", flush=True)
    if options.throughput:
        print(throughput(installed, options.rounds, options.seconds))
    return status


if __name__ == "__main__":
    sys.exit(main())
