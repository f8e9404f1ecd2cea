"""An example on one engine, and the programs of others that speak to it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from contextlib import AbstractContextManager
from pathlib import Path

from epollo import address
from tests.documents import ROOT
from tests.engines import Engine
from tests.interop.support import absent
from tests.support import DEADLINE, ServerProcess, serving


def example(
    engine: Engine, application: str, *flags: str, cwd: Path | None = None
) -> AbstractContextManager[ServerProcess]:
    """``epollo serve examples.APPLICATION`` on ``engine`` and a free port, run in ``cwd``."""
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    command = (f"examples.{application}", *engine.flags, *flags)
    return serving(*command, cwd=cwd or ROOT, env={"PYTHONPATH": path})


def complaints(server: ServerProcess) -> list[str]:
    """The lines of its log that are warnings or errors."""
    return [line for line in server.log if "INFO" not in line]


def port(server: ServerProcess) -> str:
    """The port it listens on, as text."""
    return str(address.parse(server.address).port)


def client(name: str, package: str) -> str:
    """The path of a program; skips the test, or in CI fails it, if ``package`` is not installed.

    Those that come with a package of Python lie beside the interpreter, which need not be on PATH.
    """
    beside = str(Path(sys.executable).parent)
    places = (beside, os.environ.get("PATH", os.defpath), "/usr/sbin")
    return shutil.which(name, path=os.pathsep.join(places)) or absent(package)


def output(*command: str, given: str = "") -> str:
    """What a program that ends by itself writes to stdout; it must end with status 0."""
    run = subprocess.run(
        command, input=given, capture_output=True, text=True, timeout=DEADLINE, check=False
    )
    assert run.returncode == 0, f"{command}: {run.stderr or run.stdout}"
    return run.stdout
