"""Servers of others, each a process for the length of a context, which gives its address."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import quote

from tests.interop.support import absent
from tests.support import DEADLINE, python, until

POSTGRESQL_STARTUP = b"\0\0\0\x17\0\3\0\0user\0postgres\0\0"  # a login of its superuser


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
        common = _words(f"--no-defaults --datadir={data} --user={_user()}")
        new = [install, *common, "--skip-test-db", "--auth-root-authentication-method=normal"]
        subprocess.run(new, check=True, capture_output=True, timeout=DEADLINE)
        settings = f"--skip-grant-tables --skip-networking --socket={where} --pid-file={folder}/pid"
        with _process([program, *common, *_words(settings)], lambda: _accepts(where)):
            yield f"unix:{where}"


@contextmanager
def postgresql() -> Iterator[str]:
    """PostgreSQL's server, new and empty, on a Unix socket; any user may log in."""
    programs = Path("/usr/lib/postgresql")
    versions = sorted(programs.glob("*/bin/initdb"))
    initdb = versions[-1] if versions else Path(absent("Debian's postgresql"))
    with _folder() as folder:
        # Root may not run it; Debian's package has made this user.
        user: dict[str, Any] = {}
        if os.geteuid() == 0:
            user = {"user": "postgres", "group": "postgres"}
            shutil.chown(folder, **user)
        data, where = folder / "data", folder / ".s.PGSQL.5432"
        new = [str(initdb), *_words(f"-D {data} -U postgres -A trust --no-sync")]
        subprocess.run(new, check=True, capture_output=True, timeout=DEADLINE, **user)
        settings = _words(f"-D {data} -k {folder} -p 5432 -F -c listen_addresses=")
        with _process(
            [str(initdb.with_name("postgres")), *settings], lambda: _logs_in(where), **user
        ):
            yield f"unix:{where}"


@contextmanager
def mosquitto() -> Iterator[str]:
    """mosquitto, without a file of its own; any client may connect."""
    program = _program("mosquitto", "mosquitto")
    with _folder() as folder:
        where, file = folder / "socket", folder / "conf"
        settings = [f"listener 0 {where}", "allow_anonymous true", f"user {_user()}"]
        file.write_text("\n".join(settings))
        with _process([program, "-c", str(file)], lambda: _accepts(where)):
            yield f"unix:{where}"


@contextmanager
def nats() -> Iterator[str]:
    """nats-server, on a port that it chooses."""
    program = _program("nats-server", "nats-server")
    with _folder() as folder:

        def ports() -> list[Path]:  # it names its port there
            return list(folder.glob("*.ports"))

        settings = _words(f"--addr 127.0.0.1 --port -1 --ports_file_dir {folder}")
        with _process([program, *settings], ports):
            [file] = ports()
            until(lambda: file.read_text().endswith("}"))
            [address] = json.loads(file.read_text())["nats"]
            yield address.removeprefix("nats://")


@contextmanager
def slapd() -> Iterator[str]:
    """slapd, with one entry that anybody may read, on a Unix socket."""
    program = _program("slapd", "slapd")
    with _folder() as folder:
        file, where = folder / "conf", folder / "socket"
        file.write_text(_SLAPD.format(folder=folder))
        entry = "dn: dc=test\nobjectClass: domain\ndc: test\nassociatedName: cn=here\n"
        add = [_program("slapadd", "slapd"), "-f", str(file)]
        subprocess.run(add, input=entry.encode(), check=True, capture_output=True, timeout=DEADLINE)
        url = f"ldapi://{quote(str(where), safe='')}"
        settings = ["-f", str(file), "-h", url, "-d", "0"]
        with _process([program, *settings], lambda: _accepts(where)):
            yield f"unix:{where}"


_SLAPD = """
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
modulepath /usr/lib/ldap
moduleload back_ldif
database ldif
suffix dc=test
directory {folder}
access to * by * read
"""


def _program(name: str, package: str) -> str:
    return shutil.which(name) or shutil.which(f"/usr/sbin/{name}") or absent(f"Debian's {package}")


def _user() -> str:
    return pwd.getpwuid(os.geteuid()).pw_name


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


def _logs_in(path: Path) -> bool:
    """Can one log in to PostgreSQL? It accepts connections before that, and closes them."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(DEADLINE)
        try:
            probe.connect(str(path))
            probe.sendall(POSTGRESQL_STARTUP)
            return probe.recv(1) == b"R"  # AuthenticationOk; E is an error
        except OSError:
            return False


@contextmanager
def _process(command: Sequence[str], ready: Callable[[], object], **user: Any) -> Iterator[None]:
    quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(command, **quiet, **user)
    try:
        until(lambda: ready() or process.poll() is not None)
        assert process.poll() is None, f"{command[0]} ended with status {process.returncode}"
        yield
    finally:
        process.kill()
        process.wait(DEADLINE)
