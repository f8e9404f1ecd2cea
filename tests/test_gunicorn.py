"""The worker class for gunicorn, under the real gunicorn."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.certificates import Files
from tests.support import DEADLINE, Peer, frame, until
from tests.workers.support import answer, children_of, ended, write

pytest.importorskip("gunicorn")

COMMAND = (sys.executable, "-m", "gunicorn", "-k", "epollo.gunicorn.EpolloWorker")


class Arbiter:
    """gunicorn in a process of its own, which listens on a Unix socket."""

    def __init__(self, process: subprocess.Popen[str], folder: Path, log: Any) -> None:
        self.process = process
        self.address = f"unix:{folder}/socket"
        self._log = log

    @property
    def log(self) -> str:
        descriptor = self._log.fileno()
        return os.pread(descriptor, os.fstat(descriptor).st_size, 0).decode()

    @property
    def workers(self) -> set[int]:
        return children_of(self.process.pid)

    def connect(self) -> Peer:
        return Peer(self.address)

    def ask(self) -> tuple[str, int]:
        with self.connect() as peer:
            return answer(peer)


@contextmanager
def gunicorn(
    folder: Path, *flags: str, env: dict[str, str] | None = None, status: int = 0
) -> Iterator[Arbiter]:
    """``gunicorn`` with two workers. Fails if it ends with another status, or leaves one behind."""
    if not (folder / "app.py").exists():
        write(folder, 1)
    with tempfile.TemporaryFile("a+") as log:
        process = subprocess.Popen(
            [
                *COMMAND,
                "-w",
                "2",
                "-b",
                f"unix:{folder}/socket",
                "--no-control-socket",
                *flags,
                "app:handle",
            ],
            cwd=folder,
            stdout=log,
            stderr=log,
            text=True,
            env=os.environ | (env or {}),
        )
        arbiter, children = Arbiter(process, folder, log), set[int]()
        try:
            until(lambda: "Booting worker" in arbiter.log)
            yield arbiter
            children = arbiter.workers
            process.send_signal(signal.SIGTERM)
            assert process.wait(DEADLINE) == status, arbiter.log
        finally:
            children |= arbiter.workers
            process.kill()
            process.wait()
        until(lambda: all(map(ended, children)))


def _run(folder: Path, *flags: str, env: dict[str, str] | None = None) -> tuple[int, str]:
    """The status of a gunicorn that cannot serve, and what it says."""
    command = [*COMMAND, "-b", f"unix:{folder}/socket", "--no-control-socket", *flags, "app:handle"]
    result = subprocess.run(
        command,
        cwd=folder,
        env=os.environ | (env or {}),
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )
    return result.returncode, result.stderr


def test_workers_serve_on_the_sockets_of_the_arbiter(tmp_path: Path) -> None:
    with gunicorn(tmp_path) as arbiter:
        version, worker = arbiter.ask()
        assert version == "1"
        assert worker in arbiter.workers


def test_an_object_with_hooks(tmp_path: Path) -> None:
    """gunicorn asks for something callable, and this is not."""
    (tmp_path / "app.py").write_text(
        "class Chat:\n"
        "    def started(self, server): self.ready = b'started'\n"
        "    def received(self, message): return self.ready\n"
        "handle = Chat()\n"
    )
    with gunicorn(tmp_path) as arbiter, arbiter.connect() as peer:
        assert peer.ask(b"?") == b"started"


def test_an_async_handler(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(
        "import asyncio\n"
        "async def handle(message):\n"
        "    await asyncio.sleep(0)\n"
        "    return message.upper()\n"
    )
    with gunicorn(tmp_path) as arbiter, arbiter.connect() as peer:
        assert peer.ask(b"hello") == b"HELLO"


def test_an_application_that_is_imported_before_the_fork(tmp_path: Path) -> None:
    with gunicorn(tmp_path, "--preload") as arbiter:
        assert arbiter.ask()[1] in arbiter.workers


@pytest.mark.parametrize("how", ["environment", "raw_env", "file"])
def test_settings(tmp_path: Path, how: str) -> None:
    flags: list[str] = []
    env: dict[str, str] = {}
    if how == "environment":
        env = {"EPOLLO_FRAMING": "line"}
    elif how == "raw_env":
        flags = ["--env", "EPOLLO_FRAMING=line"]
    else:
        (tmp_path / "gunicorn.conf.py").write_text("raw_env = ['EPOLLO_FRAMING=line']\n")
    with gunicorn(tmp_path, *flags, env=env) as arbiter, arbiter.connect() as peer:
        peer.send(b"?\n")
        assert peer.receive(2) == b"1 "


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("EPOLLO_FRAMIN", "u32", "no setting EPOLLO_FRAMIN: did you mean EPOLLO_FRAMING?"),
        ("EPOLLO_FRAMING", "u33", "framing"),
        ("EPOLLO_BIND", "127.0.0.1:1", "EPOLLO_BIND does not apply to gunicorn's workers: set "),
        ("EPOLLO_MAX_WORKER_AGE", "1h", "workers: gunicorn has no such setting"),
    ],
)
def test_wrong_settings_end_gunicorn(tmp_path: Path, name: str, value: str, why: str) -> None:
    write(tmp_path, 1)
    status, said = _run(tmp_path, env={name: value})
    assert status == 4  # gunicorn's own, of an application that cannot be loaded
    [line] = {line for line in said.splitlines() if line.startswith("epollo: error: ")}
    assert why in line
    assert "Traceback" not in said


def test_an_application_that_cannot_be_imported_ends_gunicorn(tmp_path: Path) -> None:
    write(tmp_path, "1 / 0")
    status, said = _run(tmp_path)
    assert status == 4
    assert "epollo: error: handler module 'app' cannot be imported: ZeroDivisionError" in said


SLOW = """
import asyncio
async def handle(message):
    open("begun", "a").close()
    await asyncio.sleep(float(message))
    return b"done"
"""


def test_a_stop_is_graceful(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(SLOW)
    with gunicorn(tmp_path) as arbiter, arbiter.connect() as peer:
        peer.send(frame(b"0.5"))
        until((tmp_path / "begun").exists)
        arbiter.process.send_signal(signal.SIGTERM)
        assert peer.message() == b"done"
        assert arbiter.process.wait(DEADLINE) == 0


def test_a_stop_ends_before_the_graceful_timeout(tmp_path: Path) -> None:
    """By so much here that no busy machine keeps the worker from ending before it is killed."""
    (tmp_path / "app.py").write_text(SLOW)
    (tmp_path / "gunicorn.conf.py").write_text("import epollo.gunicorn as e; e._SPARE = 19.0\n")
    with gunicorn(tmp_path, "--graceful-timeout", "20") as arbiter, arbiter.connect() as peer:
        peer.send(frame(b"3600"))
        until((tmp_path / "begun").exists)
        arbiter.process.send_signal(signal.SIGTERM)
        assert peer.receive_until_gone() == b""
        assert arbiter.process.wait(DEADLINE) == 0
        assert "SIGKILL" not in arbiter.log  # the worker ended by itself


def test_a_reload_imports_the_application_anew(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(SLOW)
    with gunicorn(tmp_path) as arbiter, arbiter.connect() as peer:
        peer.send(frame(b"0.5"))
        until((tmp_path / "begun").exists)
        before = arbiter.workers
        write(tmp_path, 2)
        arbiter.process.send_signal(signal.SIGHUP)
        assert peer.message() == b"done"
        until(lambda: not arbiter.workers & before)
        assert arbiter.ask()[0] == "2"


# A timeout that a busy machine does not come to: there is nothing to import after the fork.
PATIENT = ("--timeout", "4", "--preload")


def test_a_worker_that_is_blocked_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(
        "import os, time\n"
        "def handle(message):\n"
        "    if message == b'block': time.sleep(3600)\n"
        "    return f'1 {os.getpid()}'.encode()\n"
    )
    with gunicorn(tmp_path, *PATIENT) as arbiter:
        with arbiter.connect() as peer:
            peer.send(frame(b"block"))
            assert peer.receive_until_gone() == b""
        assert "WORKER TIMEOUT" in arbiter.log
        assert arbiter.ask()[0] == "1"


def test_idle_workers_are_not_replaced(tmp_path: Path) -> None:
    """They say in time that they are alive."""
    with gunicorn(tmp_path, *PATIENT) as arbiter:
        with arbiter.connect() as peer:
            _, worker = answer(peer)
            first = _last_beat(worker)
            until(lambda: _last_beat(worker) > first + 5)  # seconds: longer than its timeout
            assert answer(peer) == ("1", worker)
        assert "TIMEOUT" not in arbiter.log


def _last_beat(worker: int) -> float:
    """When it has last touched the file that the arbiter looks at, in seconds."""
    for file in Path(f"/proc/{worker}/fd").iterdir():
        if "wgunicorn" in os.readlink(file):  # noqa: PTH115
            return file.stat().st_ctime
    return 0.0


def test_a_worker_with_many_messages_is_replaced(tmp_path: Path) -> None:
    with gunicorn(tmp_path, "-w", "1", "--max-requests", "10") as arbiter:
        _, before = arbiter.ask()
        with arbiter.connect() as peer:
            for _ in range(10):
                answer(peer)
        until(lambda: before not in arbiter.workers)
        assert "max_requests: it has received 11 messages" in arbiter.log
        assert arbiter.ask()[1] != before


def test_workers_end_when_the_arbiter_is_killed(tmp_path: Path) -> None:
    with gunicorn(tmp_path, status=-signal.SIGKILL) as arbiter:
        arbiter.ask()
        workers = arbiter.workers
        arbiter.process.kill()
        until(lambda: all(map(ended, workers)))


def test_tls_of_gunicorn(tmp_path: Path) -> None:
    files = Files(tmp_path)
    flags = ["--certfile", files.cert, "--keyfile", files.key]
    with (
        gunicorn(tmp_path, *flags) as arbiter,
        arbiter.connect() as plain,
        files.client().wrap_socket(plain.socket, server_hostname="127.0.0.1") as secure,
    ):
        secure.sendall(frame(b"?"))
        assert secure.recv(100)[4:6] == b"1 "
