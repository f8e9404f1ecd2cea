"""A network that shortens, delays and resets by seed changes nothing but when things happen.

`fuzz/network.py` has the scenes; here is the everyday share of them. `make fuzz` has more.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from epollo.engine import available

ROOT = Path(__file__).parents[2]

if "native" not in available():
    pytest.skip("the native engine is not built", allow_module_level=True)
if (shutil.which("cc") or shutil.which("gcc")) is None:
    pytest.skip("no C compiler to build network.c with", allow_module_level=True)


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    """``python`` with these arguments, at the root of the repository, to its end."""
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=ROOT,
    )


def test_scenes_by_seed_come_to_the_same_on_a_bad_network() -> None:
    done = python("-m", "fuzz", "--streams", "150", "--through", "network")
    assert (done.returncode, done.stderr) == (0, "")
    ends = set(re.findall(r"(\w+) \d+", done.stdout))
    assert ends > {"eof", "local", "shutdown", "truncated", "handler_error", "slow_consumer"}
    assert "reset" in ends
    assert "150 on a bad network, 0 differences" in done.stdout


# A fault that only a network which takes less than it is given brings to light; on Python's engine,
# where it can be put in from outside.
BROKEN = """
import sys
from epollo.engine.python.connection import Connection
from fuzz import network
from fuzz.run import main

def send_head(self):
    self.socket.send(self._head)
    self.unsent -= len(self._head)
    self._head = None

if __name__ == "__main__":
    network.preload(sys.orig_argv[1:])
    Connection._send_head = send_head
    sys.exit(main(["--jobs", "1", "--through", "network", *sys.argv[1:]]))
"""


def test_a_lost_rest_is_found_and_the_seed_replays_it() -> None:
    found = python("-c", BROKEN, "--streams", "40")
    assert found.returncode == 1
    assert "on the python engine, a " in found.stderr
    (seed, *_) = re.findall(
        r"replay: python -m fuzz --streams 1 --seed (\d+) --through network", found.stderr
    )
    told = found.stderr.split("  replay: ")[0]
    for _ in range(2):
        again = python("-c", BROKEN, "--streams", "1", "--seed", seed)
        assert again.returncode == 1
        assert again.stderr.split("  replay: ")[0] == told
    mended = python("-m", "fuzz", "--streams", "1", "--seed", seed, "--through", "network")
    assert mended.returncode == 0


def test_without_the_network_it_says_what_is_missing() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "fuzz", "--through", "network"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=ROOT,
        env=os.environ | {"PATH": "/nowhere"},
    )
    assert done.returncode == 2
    assert "needs a C compiler" in done.stderr
