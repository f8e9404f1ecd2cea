"""logger and rsyslogd send to the syslog sink."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.engines import Engine
from tests.services.support import client, complaints, example, output, port
from tests.support import DEADLINE, Peer, ServerProcess, until

pytestmark = pytest.mark.services


@pytest.fixture
def server(engine: Engine, tmp_path: Path) -> Iterator[ServerProcess]:
    flags = ("--framing", "examples.syslog_sink:Either", "--max-frame", "64KiB")
    with example(engine, "syslog_sink:Sink", *flags, cwd=tmp_path) as server:
        yield server
        assert complaints(server) == []


def logged(folder: Path, count: int, tag: str = "") -> list[str]:
    """The lines of the sink with this ``tag`` in them, once there are ``count``, without the
    peers before them."""

    def lines() -> list[str]:
        whole = (folder / "messages.log").read_text().rpartition("\n")[0].splitlines()
        return [line.partition(" ")[2] for line in whole if tag in line]

    until(lambda: len(lines()) >= count)
    return lines()


def log(server: ServerProcess, *arguments: str, given: str = "") -> None:
    where = ("--tcp", "--server", "127.0.0.1", "--port", port(server))
    output(client("logger", "bsdutils"), *where, *arguments, given=given)


@pytest.mark.parametrize("framing", [["--octet-count"], []], ids=["octet-counted", "lines"])
def test_logger(server: ServerProcess, tmp_path: Path, framing: list[str]) -> None:
    log(server, *framing, "-p", "mail.err", "-t", "me", "the mail is late")
    log(server, *framing, "-p", "local7.debug", "--rfc3164", "-t", "me", "grüße\x1b[2J")
    first, second = logged(tmp_path, 2)
    assert re.fullmatch(r"mail\.err 1 20\d\d-\S+ \S+ me - - \[.*\] the mail is late", first)
    assert re.fullmatch(r"local7\.debug \w{3} .* me: grüße\\x1b\[2J", second)


def test_many_lines_of_one_connection(server: ServerProcess, tmp_path: Path) -> None:
    lines = [f"line {number}" for number in range(500)]
    log(server, "--octet-count", "--rfc3164", given="\n".join(lines))
    assert [line.partition(": ")[2] for line in logged(tmp_path, 500)] == lines


CONFIGURATION = """
global(workDirectory="{folder}")
module(load="imuxsock" SysSock.Use="off")
input(type="imuxsock" Socket="{folder}/log" RateLimit.Interval="0")
action(type="omfwd" target="127.0.0.1" port="{port}" protocol="tcp" TCP_Framing="{framing}"
       template="RSYSLOG_SyslogProtocol23Format")
"""


@contextmanager
def rsyslogd(server: ServerProcess, folder: Path, framing: str) -> Iterator[Path]:
    """The socket to which it listens; it forwards to the server what comes there."""
    daemon = client("rsyslogd", "rsyslog")
    configuration = folder / "rsyslog.conf"
    configuration.write_text(
        CONFIGURATION.format(folder=folder, port=port(server), framing=framing)
    )
    command = [daemon, "-n", "-f", str(configuration), "-i", str(folder / "pid")]
    with subprocess.Popen(command) as process:
        try:
            until((folder / "log").exists)
            yield folder / "log"
        finally:
            process.terminate()
            process.wait(DEADLINE)


@pytest.mark.parametrize("framing", ["octet-counted", "traditional"])
def test_rsyslogd_forwards(server: ServerProcess, tmp_path: Path, framing: str) -> None:
    with rsyslogd(server, tmp_path, framing) as socket:
        logger = (client("logger", "bsdutils"), "-u", str(socket), "-t", "me", "-p", "cron.info")
        for number in range(3):
            output(*logger, f"message {number}")
        lines = logged(tmp_path, 3, tag=" me ")  # it sends lines of its own, too
    pattern = r"cron\.info 1 20\d\d-\S+ \S+ me - - - +message (\d)"
    assert [re.sub(pattern, r"\1", line) for line in lines] == ["0", "1", "2"]


def test_bytes_that_are_no_frame_end_their_connection_only(
    server: ServerProcess, tmp_path: Path
) -> None:
    with Peer(server.address) as peer:
        peer.send(b"<13>before\n12345678901 behind")
        assert peer.receive_until_gone() == b""
    log(server, "--rfc3164", "-t", "me", "still here")
    first, second = logged(tmp_path, 2)
    assert first == "user.notice before"
    assert second.endswith(" me: still here")
