"""An echo server in a process of its own, for a load test without ADDRESS."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from epollo.bench.workload import Workload
from epollo.child_process import child_process, ready_address
from epollo.errors import EpolloError, UsageError

_UNSENT_FRAMES = 16  # a single one over the server's bound of unsent bytes would end its connection


@contextmanager
def echo_server(workload: Workload) -> Iterator[str]:
    """Run an ``epollo serve`` that suits ``workload`` for as long as the context lasts; gives the
    address it bound. Raises UsageError for TLS: it has no certificate."""
    if workload.tls:
        raise UsageError(
            "--tls: the local echo server has no certificate; start one with "
            "epollo serve --tls-cert FILE --tls-key FILE, and give its ADDRESS here"
        )
    with child_process(_command(workload)) as server:
        yield _ready_address(server)


def _command(workload: Workload) -> list[str]:
    max_frame = workload.new_framing().max_frame
    command = [sys.executable, "-m", "epollo", "serve", "--bind", "127.0.0.1:0"]
    command += ["--framing", workload.framing]
    command += ["--graceful-timeout", "1s", "--log-level", "warning"]
    command += ["--max-frame", str(max_frame), "--max-unsent", str(_UNSENT_FRAMES * max_frame)]
    if workload.proxy_header:
        command += ["--proxy-protocol", "required"]
    return command


def _ready_address(server: subprocess.Popen[bytes]) -> str:
    try:
        return ready_address(server)
    except EpolloError:
        raise EpolloError("the local echo server did not start; see its error above") from None
