"""The local echo server of a load test without ADDRESS, in a process of its own."""

from __future__ import annotations

import re
import selectors
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from epollo.bench.workload import Workload
from epollo.errors import EpolloError, UsageError

_START_SECONDS = 10.0
_STOP_SECONDS = 10.0
_UNSENT_FRAMES = 16  # the server closes a connection with more unsent bytes than its limit


@contextmanager
def echo_server(workload: Workload) -> Iterator[str]:
    """Run an ``epollo serve`` that suits ``workload`` while the context lasts; yields its address.
    Raises UsageError for TLS, because it has no certificate."""
    if workload.tls:
        raise UsageError(
            "--tls: the local echo server has no certificate; start one with "
            "epollo serve --tls-cert FILE --tls-key FILE, and give its ADDRESS here"
        )
    # In a session of its own, so that Ctrl-C stops the run and not the server.
    server = subprocess.Popen(
        _command(workload), stdout=subprocess.PIPE, text=True, start_new_session=True
    )
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


def _command(workload: Workload) -> list[str]:
    max_frame = workload.new_framing().max_frame
    command = [sys.executable, "-m", "epollo", "serve", "--bind", "127.0.0.1:0"]
    command += ["--framing", workload.framing]
    command += ["--graceful-timeout", "1s", "--log-level", "warning"]
    command += ["--max-frame", str(max_frame), "--max-unsent", str(_UNSENT_FRAMES * max_frame)]
    if workload.proxy_header:
        command += ["--proxy-protocol", "required"]
    return command


def _ready_address(server: subprocess.Popen[str]) -> str:
    assert server.stdout is not None
    with selectors.DefaultSelector() as selector:
        selector.register(server.stdout, selectors.EVENT_READ)
        line = server.stdout.readline() if selector.select(_START_SECONDS) else ""
    match = re.search(r" on (\S+) \(", line)
    if match is None:
        raise EpolloError("the local echo server did not start; see its error above")
    return match[1]
