"""The PostgreSQL stub as its protocol is written; psql itself is in ``tests/services``."""

from __future__ import annotations

import re
import ssl
import struct
from collections.abc import Iterator

import pytest

from examples.postgres_messages import ROW, SSL_REQUEST, WELCOME, typed
from tests.certificates import Files
from tests.documents import ROOT
from tests.support import Peer, ServerProcess, python

STARTUP = struct.pack("!I", 196608) + b"user\0me\0\0"


def untyped(body: bytes) -> bytes:
    return struct.pack("!I", len(body) + 4) + body


@pytest.fixture
def server(files: Files) -> Iterator[ServerProcess]:
    arguments = ("-m", "examples.postgres", "127.0.0.1:0", str(files.cert), str(files.key))
    with python(*arguments, cwd=ROOT) as server:
        yield server


@pytest.mark.parametrize("tls", [False, True])
def test_startup_and_query(server: ServerProcess, files: Files, tls: bool) -> None:
    with Peer(server.address) as peer:
        if tls:
            peer.send(untyped(SSL_REQUEST))
            assert peer.receive(1) == b"S"
            peer.socket = files.client().wrap_socket(peer.socket, server_hostname="localhost")
        # Sent at once, as no client needs to: the query is cut by the framing of typed messages.
        peer.send(untyped(STARTUP) + typed(b"Q", b"select 1\0"))
        expected = b"".join(WELCOME + ROW)
        assert peer.receive(len(expected)) == expected
        assert (peer.socket.version() if isinstance(peer.socket, ssl.SSLSocket) else None) == (
            "TLSv1.3" if tls else None
        )


def test_the_lines_of_the_three_are_those_of_the_page() -> None:
    page = (ROOT / "docs" / "phases.md").read_text()
    told = dict(re.findall(r"\]\(\.\./examples/(postgres\w*)\.py\) \| (\d+) \|", page))
    assert {name: int(count) for name, count in told.items()} == {
        name: _lines(name) for name in ("postgres", "postgres_asyncio", "postgres_twisted")
    }
    assert all(_lines("postgres") <= int(count) for count in told.values())


def _lines(name: str) -> int:
    """Lines of code, without the text at the top and empty ones."""
    code = (ROOT / "examples" / f"{name}.py").read_text().partition('"""\n\n')[2]
    return len([line for line in code.splitlines() if line.strip()])
