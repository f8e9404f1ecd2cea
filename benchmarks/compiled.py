"""The handlers of `examples/compiled`, compiled by Cython and by mypyc."""

import importlib
import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.build import BUILD
from benchmarks.errors import BenchmarkError
from benchmarks.servers import NATIVE, Server

EXAMPLES = Path(__file__).parent.parent / "examples" / "compiled"
SUFFIX = sysconfig.get_config_var("EXT_SUFFIX")
FOLDER = BUILD / "compiled" / str(SUFFIX).strip(".")
COMPILERS = {  # by the module with the handler: what is imported to compile it, and the command
    "cython_handler": ("Cython", ("-m", "Cython.Build.Cythonize", "-3", "-i", "-q")),
    "mypyc_handler": ("mypyc", ("-m", "mypyc")),
}


def missing(module: str) -> str | None:
    """Return why the handler cannot be compiled here; None: it can."""
    compiler, _ = COMPILERS[module]
    if importlib.util.find_spec(compiler) is None:
        return f"pip install {'mypy' if compiler == 'mypyc' else compiler}"
    return None if shutil.which("cc") else "apt install gcc"


def build(module: str) -> None:
    """Compile the handler, unless it is newer than its source.

    Raises:
        BenchmarkError: it cannot be compiled.
    """
    [source] = EXAMPLES.glob(f"{module}.py*")
    made = FOLDER / f"{module}{SUFFIX}"
    if made.exists() and made.stat().st_mtime > source.stat().st_mtime:
        return
    FOLDER.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, FOLDER / source.name)
    compiler, arguments = COMPILERS[module]
    command = [sys.executable, *arguments, source.name]
    done = subprocess.run(command, cwd=FOLDER, capture_output=True, text=True, check=False)
    if done.returncode != 0 or not made.exists():
        last = (done.stderr.strip() or done.stdout.strip() or "no word").splitlines()[-1]
        raise BenchmarkError(f"{compiler} cannot compile {source.name}: {last}")


def build_all() -> None:
    """Compile what can be compiled here."""
    for module in COMPILERS:
        if missing(module) is None:
            build(module)


def load(module: str) -> Callable[[], Any]:
    """Return a function that imports the compiled module and returns its `handle`."""

    def handler() -> Any:
        build(module)
        if str(FOLDER) not in sys.path:
            sys.path.insert(0, str(FOLDER))
        return importlib.import_module(module).handle

    return handler


def server(module: str, name: str, label: str) -> Server:
    """Make the row of a compiled handler, on the native engine."""
    path = os.pathsep.join(filter(None, (str(FOLDER), os.environ.get("PYTHONPATH"))))
    return replace(
        NATIVE,
        name=f"{NATIVE.name}-{name}",
        label=f"{NATIVE.label}, {label}",
        command=("env", f"PYTHONPATH={path}", *NATIVE.command, f"{module}:handle"),
        missing=NATIVE.missing or missing(module),
    )


CYTHON = server("cython_handler", "cython", "handle(message) compiled by Cython")
MYPYC = server("mypyc_handler", "mypyc", "handle(message) compiled by mypyc")
SERVERS = (CYTHON, MYPYC)
