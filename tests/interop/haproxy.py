"""HAProxy in front of a server."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from epollo import address
from tests.interop.support import absent
from tests.support import DEADLINE

CONFIG = """
defaults
    mode tcp
    timeout connect 5s
    timeout client 30s
    timeout server 30s
listen proxy
    bind fd@{descriptor} {accepts}
    bind unix@{path} {accepts}
    server epollo {back} {sends}
"""


@contextmanager
def haproxy(folder: Path, back: str, sends: str, accepts: str = "") -> Iterator[str]:
    """The address of an HAProxy before the server at ``back``, to which it ``sends`` headers;
    ``folder``/front is its Unix socket. ``accepts`` is what it wants of its own clients."""
    if shutil.which("haproxy") is None:
        absent("haproxy")
    config = folder / "haproxy.cfg"
    with socket.create_server(("127.0.0.1", 0)) as front:  # listens, so that nobody comes too early
        where = str(address.of(front.getsockname()))
        settings = {"back": back, "sends": sends, "accepts": accepts, "path": folder / "front"}
        config.write_text(CONFIG.format(descriptor=front.fileno(), **settings))
        process = subprocess.Popen(
            ["haproxy", "-db", "-f", config], stderr=subprocess.DEVNULL, pass_fds=[front.fileno()]
        )
    try:
        yield where
    finally:
        process.terminate()
        process.wait(DEADLINE)
