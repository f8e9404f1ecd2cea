"""The compiled handlers: what `docs/compiled.md` says to type, and served with nothing changed."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.documents import ROOT
from tests.support import DEADLINE, Peer, serving

EXAMPLES = ROOT / "examples" / "compiled"


@pytest.fixture(scope="module")
def cython(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the module that Cython has compiled."""
    pytest.importorskip("Cython")
    folder = tmp_path_factory.mktemp("cython")
    shutil.copy(EXAMPLES / "cython_handler.pyx", folder)
    command = [sys.executable, "-m", "Cython.Build.Cythonize", "-3", "-i", "-q"]
    subprocess.run([*command, "cython_handler.pyx"], cwd=folder, check=True, timeout=DEADLINE * 3)
    return folder


@pytest.mark.parametrize("function", ["handle", "handle_both"])
def test_a_function_of_cython_is_a_handler(cython: Path, function: str) -> None:
    with serving(f"cython_handler:{function}", cwd=cython) as server, Peer(server.address) as peer:
        assert peer.ask(b"hello") == b"hello"
        assert peer.ask(b"") == b""


def test_the_handler_of_mypyc_is_plain_python() -> None:
    """mypyc takes many seconds; that what it compiles is served is seen by `make bench`."""
    with serving("mypyc_handler:handle", cwd=EXAMPLES) as server, Peer(server.address) as peer:
        assert peer.ask(b"hello") == b"hello"
