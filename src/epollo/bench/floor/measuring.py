"""Measures the tester's own floor before a run: the same exchange with a null server."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from epollo import address
from epollo.bench.floor import null_server
from epollo.bench.results.floor import Floor
from epollo.bench.run.driver import Driver
from epollo.bench.workload import Workload
from epollo.child_process import child_process, ready_address
from epollo.errors import EpolloError
from epollo.units import format_size

SECONDS = 0.2
WORTHWHILE = 2.0  # seconds; the floor is not measured before a shorter run unless asked for
_WARMUP = 0.05
_LARGEST = 1 << 20  # bytes of a message; larger ones measure the memory instead


def is_worthwhile(workload: Workload) -> bool:
    """Is the run so long that the time for its floor does not matter? The floor of this
    machine says nothing about a cluster."""
    long = workload.seconds is not None and workload.seconds >= WORTHWHILE
    return long and not workload.cluster


def measure_floor(workload: Workload) -> Floor | None:
    """Round trips of this tester, as in ``workload``, with a server in a process of its own that
    sends back the bytes of each message: its floor on this machine. About 0.3 s.

    One connection, one message at a time, of the same framing and sizes, over TCP or a Unix socket.
    Left out are TLS, PROXY headers, greetings and preambles, identifiers, and functions that verify
    replies. None if that cannot be measured: without replies (``expect="none"``), for messages over
    1 MiB or from a pipe, or if the server could not be started.
    """
    if workload.expect == "none" or workload.sizes.most > _LARGEST or _reads_a_pipe(workload):
        return None
    try:
        with _null_server(workload) as target:
            result = Driver(_exchange(workload, target)).run()
    except (EpolloError, OSError):
        return None
    if result.failed:
        return None
    return Floor.of(result.response, _described(workload))


def _exchange(workload: Workload, target: str) -> Workload:
    """The part of ``workload`` that any server answers that sends back what it receives."""
    return Workload(
        address=target,
        connections=1,
        duration=SECONDS,
        warmup=_WARMUP,
        size=workload.size,
        payload=workload.payload,
        payload_framing=workload.payload_framing,
        payload_order=workload.payload_order,
        template=workload.template,
        framing=workload.framing,
        expect="echo" if workload.expect == "echo" else "any",
        engine=workload.engine,
        seed=workload.seed,
        timeout=1.0,
    )


def _reads_a_pipe(workload: Workload) -> bool:
    """To read the messages would take them from the run."""
    path = Path(workload.payload)
    return bool(workload.payload) and not (path.is_file() or path.is_dir())


def _described(workload: Workload) -> str:
    if workload.payload or workload.template:
        what = "messages from a file" if workload.payload else "messages from a template"
    elif workload.sizes.least == workload.sizes.most:
        what = f"{format_size(workload.sizes.most)} messages"
    else:
        least, most = workload.sizes.least, workload.sizes.most
        what = f"{format_size(least)} to {format_size(most)} messages"
    network = "a Unix socket" if address.parse(workload.address).path else "TCP"
    return f"{what} over {network}, one at a time"


@contextmanager
def _null_server(workload: Workload) -> Iterator[str]:
    """Run it for as long as the context lasts; gives its address."""
    command = [sys.executable, "-I", "-S", str(Path(null_server.__file__))]
    with tempfile.TemporaryDirectory(prefix="epollo-") as folder:
        if address.parse(workload.address).path:
            command.append(str(Path(folder) / "null"))
        with child_process(command) as server:
            yield ready_address(server)
