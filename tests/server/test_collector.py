"""What Python's garbage collector visits in a process that is only there to serve."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import Peer, serving

APPLICATION = """
import gc

loaded = []


def started(self, server):
    loaded.append([[] for _ in range(1000)])


def handle(message):
    return b"%d" % (gc.get_freeze_count() - before)


class Application:
    started = started
    received = staticmethod(handle)


before = gc.get_freeze_count()
"""

EMBEDDED = """
import gc
import epollo

before = gc.get_freeze_count()  # some hundred since Python 3.12
with epollo.Server(lambda message: b"%d" % gc.get_freeze_count(), "127.0.0.1:0") as server:
    with epollo.connect(server.addresses[0]) as client:
        assert int(client.request(b"")) == before
"""


@pytest.mark.parametrize("workers", ["0", "1"])
def test_what_was_loaded_is_visited_no_more(tmp_path: Path, workers: str) -> None:
    (tmp_path / "app.py").write_text(APPLICATION)
    with (
        serving("app:Application", "--workers", workers, cwd=tmp_path) as server,
        Peer(server.address) as peer,
    ):
        assert int(peer.ask(b"")) > 1000


def test_an_embedded_server_leaves_the_collector_as_it_is() -> None:
    subprocess.run([sys.executable, "-c", EMBEDDED], check=True)
