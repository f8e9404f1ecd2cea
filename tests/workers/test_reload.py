"""SIGHUP: new code serves before the old one goes, and code that does not boot changes nothing."""

from __future__ import annotations

import os
import signal
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from zipfile import ZipFile

import pytest

from epollo import address
from tests.certificates import VERSIONS, Files, identity
from tests.engines import Engine
from tests.support import DEADLINE, frame, until
from tests.workers.support import APPLICATION, GREETING, Storm, Supervised, supervised, write


def _reload(server: Supervised, times: int = 1) -> None:
    server.signal(signal.SIGHUP)
    server.logged("reload done", times)


def test_a_reload_imports_the_application_anew(engine: Engine, tmp_path: Path) -> None:
    with supervised(tmp_path, *engine.flags, workers=3) as server:
        before = server.workers
        server.write("'new'")
        _reload(server)
        assert {server.ask()[0] for _ in range(60)} == {"new"}
        until(lambda: len(server.workers) == 3)
        assert not server.workers & before


def test_code_of_the_same_second_and_length_is_new_code(tmp_path: Path) -> None:
    """Bytecode of the code before would pass for its own, to Python."""
    write(tmp_path, 1)
    written = (tmp_path / "app.py").stat()
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": ""}  # as most users have it
    with supervised(tmp_path, env=environment) as server:
        server.write(2)
        os.utime(tmp_path / "app.py", ns=(written.st_atime_ns, written.st_mtime_ns))
        _reload(server)
        assert {server.ask()[0] for _ in range(20)} == {"2"}


def test_code_in_a_zip_file_that_was_replaced_is_new_code(tmp_path: Path) -> None:
    """Its modules are not where they were in the file before."""

    def write_zip(version: int, before: int) -> None:
        with ZipFile(tmp_path / "new.zip", "w") as file:
            file.writestr("before.py", "#" * before)
            file.writestr("zipped.py", APPLICATION.format(version=version))
        (tmp_path / "new.zip").replace(tmp_path / "code.zip")

    write_zip(1, 10)
    path = os.pathsep.join([str(tmp_path / "code.zip"), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path}
    with supervised(tmp_path, app="zipped:handle", env=environment) as server:
        assert server.ask()[0] == "1"
        write_zip(2, 5000)
        _reload(server)
        assert {server.ask()[0] for _ in range(20)} == {"2"}


def test_connections_of_the_old_workers_get_their_replies(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(
        "import asyncio\n"
        "async def handle(message):\n"
        "    print('begun', flush=True)\n"
        "    await asyncio.sleep(0.5)\n"
        "    return message\n"
    )
    with supervised(tmp_path) as server, server.connect() as peer:
        peer.send(frame(b"before"))
        assert server.server.line() == "begun\n"
        _reload(server)
        assert peer.message() == b"before"


def test_nobody_is_refused_or_lost_during_reloads(engine: Engine, tmp_path: Path) -> None:
    """A storm of connections, over ten reloads; one of them to code that does not import."""
    write(tmp_path, 1, GREETING)
    with supervised(tmp_path, *engine.flags) as server, Storm(server) as storm:
        for version in range(2, 12):
            server.write("1 / 0" if version == 6 else version, GREETING)
            server.signal(signal.SIGHUP)
            if version == 6:
                server.logged("reload given up")
            else:
                server.logged("reload done", version - 1 - (version > 6))
        until(lambda: "11" in storm.versions)
    assert storm.errors == []
    assert "6" not in storm.versions


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("1 / 0", "cannot be imported: ZeroDivisionError: division by zero ({}/app.py:4)"),
        ("(", "cannot be imported: SyntaxError: '(' was never closed ({}/app.py:4)"),
        ("__import__('os')._exit(3)", "ended with status 3, before it served"),
    ],
)
def test_code_that_does_not_boot_changes_nothing(tmp_path: Path, code: str, why: str) -> None:
    with supervised(tmp_path) as server:
        before = server.workers
        server.write(code)
        server.signal(signal.SIGHUP)
        line = server.logged("reload given up, the workers before go on")
        assert line.endswith(why.format(tmp_path))
        assert server.workers == before
        assert {server.ask() for _ in range(60)} == {("1", pid) for pid in before}
        server.write(2)
        _reload(server)
        assert server.ask()[0] == "2"


def test_a_reload_during_a_reload_follows_it_once(tmp_path: Path) -> None:
    """The second one may have new code that the first one has not seen."""
    with supervised(tmp_path) as server:
        (tmp_path / "app.py").write_text(
            "import os, time\n"
            "open('booting', 'a').close()\n"
            "while os.path.exists('wait'): time.sleep(0.01)\n"
            "handle = lambda m: f'2 {os.getpid()}'.encode()\n"
        )
        (tmp_path / "wait").touch()
        server.signal(signal.SIGHUP)
        until((tmp_path / "booting").exists)
        server.write(3)
        for _ in range(3):
            server.signal(signal.SIGHUP)
        until(lambda: server.server.sleeps())
        (tmp_path / "wait").unlink()
        server.logged("reload done", 2)
        assert {server.ask()[0] for _ in range(40)} == {"3"}
        assert len(server.lines("reload: 2 workers")) == 2


BOOTING = """
import os, time
open("booting", "a").close()
while os.path.exists("wait"):
    time.sleep(0.01)
version = {version}
handle = lambda message: f"{{version}} {{os.getpid()}}".encode()
"""


@contextmanager
def _booting(server: Supervised, version: int | str) -> Iterator[None]:
    """A worker was killed, and its successor boots with that code until the context ends."""
    server.write(version, BOOTING)
    wait, booting = server.folder / "wait", server.folder / "booting"
    wait.touch()
    os.kill(min(server.workers), signal.SIGKILL)
    until(booting.exists)
    yield
    wait.unlink()


@pytest.mark.parametrize("version", [2, "1 / 0"])
def test_a_worker_that_boots_when_a_reload_begins_has_the_code_of_before(
    tmp_path: Path, version: int | str
) -> None:
    """Whether it comes to serve or not, another one boots."""
    with supervised(tmp_path) as server:
        with _booting(server, version):
            server.write(3)
            server.signal(signal.SIGHUP)
            server.logged("reload: 2 workers")
        server.logged("reload done: 2 workers replaced")
        assert {server.ask()[0] for _ in range(40)} == {"3"}
        until(lambda: len(server.workers) == 2)


def test_a_worker_that_boots_when_a_reload_begins_serves_if_the_new_code_does_not_boot(
    tmp_path: Path,
) -> None:
    with supervised(tmp_path, workers=1) as server:
        with _booting(server, 2):
            server.write("1 / 0")
            server.signal(signal.SIGHUP)
            server.logged("reload: 1 worker")
        server.logged("reload given up, the workers before go on")
        assert server.ask()[0] == "2"


def test_a_worker_killed_during_a_reload_is_replaced_at_once(tmp_path: Path) -> None:
    """The reload waits for a worker that boots, the other slot does not."""
    with supervised(tmp_path) as server:
        before = server.workers
        (tmp_path / "app.py").write_text(
            "import os, time\n"
            "try:\n"
            "    os.mkdir('first')\n"
            "except FileExistsError:\n"
            "    pass\n"
            "else:\n"
            "    while os.path.exists('wait'): time.sleep(0.01)\n"
            "handle = lambda m: f'2 {os.getpid()}'.encode()\n"
        )
        (tmp_path / "wait").touch()
        server.signal(signal.SIGHUP)
        until((tmp_path / "first").exists)
        os.kill(max(before), signal.SIGKILL)
        server.logged("was killed by SIGKILL; another takes its place")
        server.logged(" serves", 3)
        os.kill(min(before), signal.SIGKILL)
        server.logged("was killed by SIGKILL; another takes its place", 2)
        assert {server.ask()[0] for _ in range(20)} == {"2"}
        (tmp_path / "wait").unlink()
        server.logged("reload done")
        until(lambda: len({server.ask()[1] for _ in range(20)}) == 2)
        assert len(server.workers) == 2


def test_a_worker_that_does_not_boot_in_time_is_given_up(tmp_path: Path) -> None:
    with supervised(tmp_path, "--boot-timeout", "1s") as server:
        (tmp_path / "app.py").write_text("import time\ntime.sleep(3600)\n")
        server.signal(signal.SIGHUP)
        line = server.logged("reload given up")
        assert "was killed: it did not serve within boot_timeout, 1 s" in line
        assert server.ask()[0] == "1"


# ---- TLS


def _tls_flags(files: Files) -> list[str]:
    return ["--tls-cert", files.cert, "--tls-key", files.key]


def _handshake(
    server: Supervised, context: ssl.SSLContext, session: ssl.SSLSession | None = None
) -> tuple[ssl.SSLSession, bool, int, bytes | None]:
    """The session of a new connection; was it resumed; the worker; the server's certificate."""
    where = address.parse(server.address)
    with (
        socket.create_connection((where.host, where.port), DEADLINE) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1", session=session) as sock,
    ):
        sock.sendall(frame(b"?"))
        worker = int(sock.recv(100)[4:].split()[1])
        assert sock.session is not None
        return sock.session, bool(sock.session_reused), worker, sock.getpeercert(binary_form=True)


@pytest.mark.parametrize("version", VERSIONS, ids=lambda version: version.name)
def test_a_session_is_resumed_with_any_worker_and_after_a_reload(
    tmp_path: Path, files: Files, version: ssl.TLSVersion
) -> None:
    context = files.client(version)
    with supervised(tmp_path, *_tls_flags(files), workers=3) as server:
        session, resumed, _, _ = _handshake(server, context)
        assert not resumed
        seen: set[int] = set()
        while len(seen) < 3:
            _, resumed, worker, _ = _handshake(server, context, session)
            assert resumed
            seen.add(worker)
        _reload(server)
        assert _handshake(server, context, session)[1]


def test_a_reload_reads_the_certificate_anew(tmp_path: Path) -> None:
    files = Files(tmp_path)
    with supervised(tmp_path, *_tls_flags(files)) as server:
        context = files.client()
        before = _handshake(server, context)[3]
        for name in (files.cert, files.key):
            Path(name).unlink()
        server.signal(signal.SIGHUP)
        server.logged("no reload, nothing has changed: tls_cert: cannot read")
        assert _handshake(server, context)[3] == before
        identity(tmp_path, "127.0.0.1", by=files.authority)
        _reload(server)
        assert _handshake(server, context)[3] != before
