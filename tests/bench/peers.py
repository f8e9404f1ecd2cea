"""Servers of others, each a process for the length of a context, which gives its address."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.interop.support import absent
from tests.support import DEADLINE, python, until


@contextmanager
def modbus() -> Iterator[str]:
    """pymodbus' server."""
    with python("-m", "tests.bench.modbus_peer") as server:
        yield f"127.0.0.1:{int(server.ready_line)}"


@contextmanager
def mongodb() -> Iterator[str]:
    """A server of MongoDB's wire protocol, whose documents are encoded by pymongo."""
    with python("-m", "tests.bench.mongodb_peer") as server:
        yield f"127.0.0.1:{int(server.ready_line)}"


@contextmanager
def out_of_order() -> Iterator[str]:
    """An asyncio server whose replies overtake each other."""
    with python("-m", "tests.bench.overtaking_peer") as server:
        yield f"127.0.0.1:{int(server.ready_line)}"


@contextmanager
def redis() -> Iterator[str]:
    """redis-server, without a file of its own, on a Unix socket."""
    program = _program("redis-server", "redis-server")
    with _folder() as folder:
        where = folder / "socket"
        settings = f"--port 0 --unixsocket {where} --save '' --appendonly no --dir {folder}"
        with _process([program, *_words(settings)], lambda: _accepts(where)):
            yield f"unix:{where}"


@contextmanager
def mysql() -> Iterator[str]:
    """MariaDB's server, new and empty, on a Unix socket; any user may log in."""
    program = _program("mariadbd", "mariadb-server-core")
    install = _program("mariadb-install-db", "mariadb-server-core")
    with _folder() as folder:
        data, where = folder / "data", folder / "socket"
        # Root has to name itself: else it is refused.
        user = pwd.getpwuid(os.geteuid()).pw_name
        common = _words(f"--no-defaults --datadir={data} --user={user}")
        new = [install, *common, "--skip-test-db", "--auth-root-authentication-method=normal"]
        subprocess.run(new, check=True, capture_output=True, timeout=DEADLINE)
        settings = f"--skip-grant-tables --skip-networking --socket={where} --pid-file={folder}/pid"
        with _process([program, *common, *_words(settings)], lambda: _accepts(where)):
            yield f"unix:{where}"


def _program(name: str, package: str) -> str:
    return shutil.which(name) or shutil.which(f"/usr/sbin/{name}") or absent(f"Debian's {package}")


def _words(settings: str) -> list[str]:
    return [word.strip("'") for word in settings.split()]


@contextmanager
def _folder() -> Iterator[Path]:
    """A folder whose path is short: that of a Unix socket has at most 107 bytes."""
    with TemporaryDirectory(prefix="peer") as folder:
        yield Path(folder)


def _accepts(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


@contextmanager
def _process(command: Sequence[str], ready: Callable[[], bool]) -> Iterator[None]:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until(lambda: ready() or process.poll() is not None)
        assert process.poll() is None, f"{command[0]} ended with status {process.returncode}"
        yield
    finally:
        process.kill()
        process.wait(DEADLINE)
