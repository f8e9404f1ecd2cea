"""psql speaks to the PostgreSQL example, with TLS and without; and to those on other libraries."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator

import pytest

from tests.certificates import Files
from tests.documents import ROOT
from tests.interop.support import absent
from tests.support import DEADLINE, Peer, ServerProcess, python

pytestmark = pytest.mark.services

SERVERS = ("postgres", "postgres_asyncio", "postgres_twisted")
PSQL = shutil.which("psql")
SSL_REQUEST = bytes([0, 0, 0, 8, 4, 210, 22, 47])


@pytest.fixture(params=SERVERS)
def server(request: pytest.FixtureRequest, files: Files) -> Iterator[ServerProcess]:
    if request.param == "postgres_twisted":
        pytest.importorskip("twisted")
    arguments = ("-m", f"examples.{request.param}", "127.0.0.1:0", str(files.cert), str(files.key))
    with python(*arguments, cwd=ROOT) as server:
        yield server


def ask(server: ServerProcess, query: str, **options: str) -> subprocess.CompletedProcess[str]:
    if PSQL is None:
        absent("psql")
    host, _, port = server.address.rpartition(":")
    where = {"host": host, "port": port, "user": "me", "dbname": "any", **options}
    connection = " ".join(f"{name}={value}" for name, value in where.items())
    return subprocess.run(
        [PSQL, "-X", "-A", "-t", connection, "-c", query],
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
        env={name: value for name, value in os.environ.items() if not name.startswith("PG")},
    )


@pytest.mark.parametrize("mode", ["disable", "prefer", "require", "verify-full"])
def test_psql_gets_its_row(server: ServerProcess, files: Files, mode: str) -> None:
    options = {"sslrootcert": files.ca} if mode == "verify-full" else {}
    asked = ask(server, "select 1", sslmode=mode, **options)
    assert (asked.stdout, asked.stderr, asked.returncode) == ("1\n", "", 0)


def test_psql_is_told_what_is_not_known(server: ServerProcess) -> None:
    asked = ask(server, "select 2", sslmode="require")
    assert asked.returncode == 1
    assert asked.stderr == "ERROR:  only select 1 is known here\n"


def test_plain_bytes_behind_the_request_end_it(server: ServerProcess) -> None:
    """CVE-2021-23214."""
    with Peer(server.address) as peer:
        peer.send(SSL_REQUEST + b"Q\0\0\0\x0dselect 1\0")
        assert peer.receive_until_gone() in (b"", b"S")
