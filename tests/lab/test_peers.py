"""Every installed peer as a process: its ready line, its frames, its end."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from importlib.util import find_spec

import pytest

from epollo.lab.peers import PEERS, Peer
from tests.support import Peer as Client
from tests.support import ServerProcess, frame, started

MESSAGES = (b"", b"short", b"x" * 64, b"y" * (1 << 20))


@pytest.fixture(params=PEERS, ids=lambda peer: peer.name)
def server(request: pytest.FixtureRequest) -> Iterator[ServerProcess]:
    peer: Peer = request.param
    if not peer.installed:
        pytest.skip(f"{peer.needs} is not installed")
    with started(*peer.command) as server:
        yield server


def test_it_echoes_frames_whole_bytewise_and_together_and_ends(server: ServerProcess) -> None:
    assert re.fullmatch(r"\w+: serving on 127\.0\.0\.1:\d+\n", server.ready_line)
    with Client(server.address) as client:
        for message in MESSAGES:
            assert client.ask(message) == message
        for byte in frame(b"bytewise"):
            client.send(bytes([byte]))
        together = frame(b"one") + frame(b"") + frame(b"three")
        client.send(together)
        expected = frame(b"bytewise") + together
        assert client.receive(len(expected)) == expected
        client.end()
        assert client.receive_all() == b""
    server.signal(signal.SIGTERM)
    assert server.wait() == 0


def test_names_are_unique_and_those_of_modules() -> None:
    assert len({peer.name for peer in PEERS}) == len(PEERS)
    for peer in PEERS:
        assert find_spec(f"epollo.lab.peers.{peer.name.replace('-', '_')}") is not None


def test_a_peer_is_missing_if_its_package_is() -> None:
    assert not Peer("none", "none", "no_such_package").installed
    assert Peer("none", "none").installed
