"""Programs that no one here wrote, each a process at the other end of a connection.

They take the same arguments, where WHAT is the program's own name for a framing:

    server WHAT         listen, print the port, echo until stdin ends
    client WHAT PORT    send the messages on stdin, end the stream, write those that come to stdout

A message on stdin or stdout comes behind its length in 4 bytes.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import pytest

from tests.support import DEADLINE, frame, messages_in, started

HERE = Path(__file__).parent


def absent(what: str) -> NoReturn:
    """Skip the test for want of ``what``; fail it where EPOLLO_INTEROP=require."""
    if os.environ.get("EPOLLO_INTEROP") == "require":
        pytest.fail(f"EPOLLO_INTEROP=require, and {what} is not installed")
    pytest.skip(f"{what} is not installed", allow_module_level=True)


@dataclass(frozen=True)
class Program:
    """One of them, found on this machine; every wait for it has a deadline."""

    command: Sequence[str | Path]

    def ask(self, what: str, address: str, messages: list[bytes]) -> list[bytes]:
        """What it receives from the server at ``address``, to which it sends ``messages``."""
        port = address.rpartition(":")[2]
        done = subprocess.run(
            [*self.command, "client", what, port],
            input=b"".join(map(frame, messages)),
            capture_output=True,
            timeout=DEADLINE,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, b"")
        return messages_in(done.stdout)

    @contextmanager
    def echoing(self, what: str) -> Iterator[str]:
        """The address at which it echoes; it ends with the context."""
        with started(*self.command, "server", what, stdin=subprocess.PIPE) as server:
            yield f"127.0.0.1:{int(server.ready_line)}"


def program(name: str) -> Program:
    """The one of that name; skips the test where there is none."""
    return _PROGRAMS[name]()


def _erlang() -> Program:
    escript = shutil.which("escript") or absent("Erlang (Debian's erlang-base)")
    return Program([escript, HERE / "erlang_peer.escript"])


def _twisted() -> Program:
    if importlib.util.find_spec("twisted") is None:
        absent("Twisted")
    return Program([sys.executable, HERE / "twisted_peer.py"])


_PROGRAMS = {"erlang": _erlang, "twisted": _twisted}
