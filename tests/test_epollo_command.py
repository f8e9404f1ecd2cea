"""The ``epollo`` command while it loads: Ctrl-C never prints a traceback."""

from __future__ import annotations

import os
import signal
import sys
import tomllib
from pathlib import Path

import pytest

from tests.bench.terminal import terminal
from tests.documents import ROOT

# Replaces a module that the command imports, and never finishes loading. It waits in short steps: a
# signal that comes just before a wait is handled only after that wait.
ENDLESS = """
import os
import time

os.write(2, b"loading")
while True:
    time.sleep(0.01)
"""

# Replaces a module whose import is interrupted, and then finishes.
INTERRUPTS = """
import os
import signal

os.kill(os.getpid(), signal.SIGINT)
os.write(2, b"loaded")
os._exit(3)
"""


def script() -> str:
    """The entry point as an installer writes it, as one argument of ``python -c``."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    module, _, name = project["project"]["scripts"]["epollo"].partition(":")
    return f"import sys; from {module} import {name}; sys.exit({name}())"


@pytest.mark.parametrize(("module", "command"), [("click", "bench"), ("ssl", "serve")])
def test_while_it_loads_it_leaves_in_silence(module: str, command: str, tmp_path: Path) -> None:
    """`click` is imported by all commands, `ssl` by the one that serves."""
    (tmp_path / f"{module}.py").write_text(ENDLESS)
    path = os.pathsep.join([str(tmp_path), *filter(None, sys.path)])
    with terminal(command, start=["-c", script()], env={"PYTHONPATH": path}) as run:
        run.wait_for("loading")
        run.process.send_signal(signal.SIGINT)
        assert run.status() == 130
        run.assert_as_found()
        assert run.said() == "loading"
        assert run.report() == ""


def test_interrupting_a_late_import_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "rich.py").write_text(ENDLESS)
    path = os.pathsep.join([str(tmp_path), *filter(None, sys.path)])
    with terminal("bench", env={"PYTHONPATH": path}) as run:
        run.wait_for("loading")
        run.process.send_signal(signal.SIGINT)
        assert run.status() == 130
        run.assert_as_found()
        assert run.said() == "loading\nepollo: error: interrupted\n"


def test_a_command_in_the_background_ignores_it(tmp_path: Path) -> None:
    """A shell has started it with SIGINT ignored: it ignores SIGINT throughout."""
    (tmp_path / "click.py").write_text(INTERRUPTS)
    path = os.pathsep.join([str(tmp_path), *filter(None, sys.path)])
    ignored = f"import signal; signal.signal(signal.SIGINT, signal.SIG_IGN); {script()}"
    with terminal("bench", start=["-c", ignored], env={"PYTHONPATH": path}) as run:
        assert run.status() == 3
        assert run.said() == "loaded"
