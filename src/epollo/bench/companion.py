"""An echo server of our own, in a process of its own, beside a load test without ADDRESS."""

from __future__ import annotations

import re
import selectors
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from epollo.errors import EpolloError

_START_SECONDS = 10.0
_STOP_SECONDS = 10.0
_UNSENT_FRAMES = 16  # a single one over the server's bound of unsent bytes would end its connection


@contextmanager
def echo_server(framing: str, max_frame: int) -> Iterator[str]:
    """Run ``epollo serve`` for as long as the context lasts; gives the address it bound."""
    command = [sys.executable, "-m", "epollo", "serve", "--bind", "127.0.0.1:0"]
    command += ["--framing", framing, "--graceful-timeout", "1s", "--log-level", "warning"]
    command += ["--max-frame", str(max_frame), "--max-unsent", str(_UNSENT_FRAMES * max_frame)]
    # A session of its own, so that Ctrl-C stops the run first and not the server under it.
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    try:
        yield _ready_address(server)
    finally:
        server.terminate()
        try:
            server.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()
        if server.stdout is not None:
            server.stdout.close()


def _ready_address(server: subprocess.Popen[str]) -> str:
    assert server.stdout is not None
    with selectors.DefaultSelector() as selector:
        selector.register(server.stdout, selectors.EVENT_READ)
        line = server.stdout.readline() if selector.select(_START_SECONDS) else ""
    match = re.search(r" on (\S+) \(", line)
    if match is None:
        raise EpolloError("the echo server beside the test did not start; see its error above")
    return match[1]
