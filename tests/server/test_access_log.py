"""The access log: a line for each connection at its end, which delays nobody."""

from __future__ import annotations

import json
import logging
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from epollo import Server
from epollo.errors import SettingError
from epollo.server import access_log
from tests.engines import Engine
from tests.logs import Log
from tests.support import Peer, Recorder, closed, epollo, serving, until

FIELDS = ["connection", "peer", "reason", "messages_in", "messages_out"]
FIELDS += ["bytes_in", "bytes_out", "seconds"]


@pytest.fixture
def lines() -> Iterator[Log]:
    logger, handler = logging.getLogger("epollo.access"), Log(logging.INFO)
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield handler
    logger.setLevel(logging.NOTSET)
    logger.removeHandler(handler)


def exchange(address: str, *messages: bytes) -> None:
    with Peer(address) as peer:
        for message in messages:
            assert peer.ask(message) == message
        peer.end()
        assert peer.receive_all() == b""


def test_a_connection_is_one_line_with_fields(engine: Engine, lines: Log) -> None:
    with engine.server(Recorder(), access_log="log") as server:
        exchange(server.addresses[0], b"a", b"bc")
        until(lambda: lines.records)
    (record,) = lines.records
    fields = {name: getattr(record, name) for name in FIELDS}
    text = record.getMessage()
    assert re.fullmatch(" ".join(rf"{name}=\S+" for name in FIELDS), text)
    assert f"peer={fields['peer']} reason=eof messages_in=2 messages_out=2" in text
    assert (fields["bytes_in"], fields["bytes_out"]) == (11, 11)
    assert fields["connection"] > 0
    assert fields["seconds"] > 0
    assert record.levelname == "INFO"


def test_a_connection_that_fails_has_its_reason(engine: Engine, lines: Log) -> None:
    with engine.server(Recorder(), access_log="log") as server, Peer(server.addresses[0]) as peer:
        peer.send(b"\xff" * 4)
        assert peer.receive_all() == b""
        until(lambda: lines.records)
    (record,) = lines.records
    assert "reason=frame_too_large messages_in=0 messages_out=0 bytes_in=4 " in record.getMessage()


def test_the_file_has_every_line_once_the_server_has_ended(engine: Engine, tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    with engine.server(Recorder(), access_log=path) as server:
        for _ in range(50):
            exchange(server.addresses[0], b"m")
    texts = path.read_text().splitlines()
    assert len(texts) == 50
    assert all(" INFO connection=" in text for text in texts)


def test_json_lines_parse_and_have_the_fields(engine: Engine, tmp_path: Path) -> None:
    path = tmp_path / "access.json"
    with engine.server(Recorder(), access_log=path, log_format="json") as server:
        exchange(server.addresses[0], b"m")
    (line,) = path.read_text().splitlines()
    values = json.loads(line)
    assert values.keys() >= {*FIELDS, "time", "level", "logger", "message", "process"}
    assert (values["logger"], values["level"], values["reason"]) == ("epollo.access", "INFO", "eof")
    assert (values["messages_in"], values["bytes_in"]) == (1, 5)


def test_a_server_that_runs_again_goes_on_with_the_file(engine: Engine, tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    server = engine.server(Recorder(), access_log=path)
    for _ in range(2):
        with server:
            exchange(server.addresses[0], b"m")
    assert len(path.read_text().splitlines()) == 2


def test_a_slow_log_delays_no_message(
    engine: Engine, lines: Log, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pipe that nobody reads; the lines that are too many are counted."""
    monkeypatch.setattr(access_log, "_MOST_WAITING", 3)
    reading, writing = os.pipe()
    os.write(writing, bytes(1 << 16))  # as much as it holds
    stuck = logging.StreamHandler(os.fdopen(writing, "w"))
    logger = logging.getLogger("epollo.access")
    logger.addHandler(stuck)
    try:
        with engine.server(Recorder(), access_log="log") as server:
            for _ in range(10):
                exchange(server.addresses[0], b"m")  # each is answered
            until(lambda: closed(server, "eof") == 10)  # type: ignore[arg-type]
            while len(lines.records) < 4:  # the one that is being written, and those that wait
                os.read(reading, 1 << 16)
            until(lambda: server._protocol._access_log._records.empty())  # type: ignore[union-attr]
            exchange(server.addresses[0], b"m")
    finally:
        logger.removeHandler(stuck)
        stuck.stream.close()
        os.close(reading)
    (text,) = log.take()
    assert text == "the access log has lost lines, which could not be written in time: 6"


def test_a_file_that_cannot_be_opened_is_one_line(tmp_path: Path) -> None:
    server = Server(bind="127.0.0.1:0", access_log=tmp_path / "no" / "access.log")
    with pytest.raises(SettingError, match=r"^access_log: cannot open '.*': no such file or dir"):
        server.start()


def test_a_full_disk_is_told_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    with Server(bind="127.0.0.1:0", access_log="/dev/full") as server:
        exchange(server.addresses[0], b"m")
    text = "epollo: cannot write to /dev/full: no space left on device; a line is lost\n"
    assert capsys.readouterr().err == text


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_files_that_were_moved_away_are_opened_anew(
    engine: Engine, tmp_path: Path, log_format: str
) -> None:
    """As logrotate does it: mv, then SIGUSR1. Each line is in one of the files, whole."""
    flags = ["--access-log", "access.log", "--log-file", "main.log", "--log-format", log_format]
    with serving(*engine.flags, *flags, cwd=tmp_path) as server:
        for number in range(3):
            for _ in range(number + 1):
                exchange(server.address, b"m")
            count = number + 1
            until_lines(tmp_path / "access.log", count)
            for name in ("access.log", "main.log"):
                subprocess.run(["mv", name, f"{name}.{number}"], cwd=tmp_path, check=True)
            server.signal(signal.SIGUSR1)
            until(lambda: all((tmp_path / n).exists() for n in ("access.log", "main.log")))
        with Peer(server.address) as peer:
            peer.send(b"\xff" * 4)
            assert peer.receive_all() == b""
        server.signal(signal.SIGTERM)
        assert server.wait() == 0
        assert server.log == []
    counts = [len(lines_of(tmp_path / f"access.log.{number}")) for number in range(3)]
    assert counts == [1, 2, 3]
    assert "frame_too_large" in (tmp_path / "access.log").read_text()
    (line,) = lines_of(tmp_path / "main.log")
    found = re.search(r"connection\W+(\d+)", line)
    assert found is not None
    assert found[1] in (tmp_path / "access.log").read_text()
    if log_format == "json":
        values = json.loads(line)
        assert (values["level"], values["reason"]) == ("INFO", "frame_too_large")


def until_lines(path: Path, count: int) -> None:
    until(lambda: len(lines_of(path)) == count)


def lines_of(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def test_a_file_that_cannot_be_opened_anew_goes_on(tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    with serving("--access-log", str(folder / "access.log")) as server:
        exchange(server.address, b"m")
        subprocess.run(["mv", str(folder), str(tmp_path / "old")], check=True)
        server.signal(signal.SIGUSR1)
        until(lambda: server.log)
        exchange(server.address, b"m")
        server.signal(signal.SIGTERM)
        assert server.wait() == 0
        (line,) = server.log
    assert f"ERROR cannot open the log file {folder}/access.log anew: no such file or dir" in line
    assert len(lines_of(tmp_path / "old" / "access.log")) == 2


def test_a_program_that_handles_the_signal_keeps_it(tmp_path: Path) -> None:
    program = """
import os, signal, epollo
signal.signal(signal.SIGUSR1, lambda *_: print("mine", flush=True))
class Handler:
    def started(self, server):
        os.kill(os.getpid(), signal.SIGUSR1)
        server.stop()
    def received(self, message):
        pass
epollo.serve(Handler(), "127.0.0.1:0", access_log="access.log")
"""
    run = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert "mine" in run.stdout


def test_log_file_and_log_config_exclude_each_other(tmp_path: Path) -> None:
    (tmp_path / "log.json").write_text('{"version": 1}')
    flags: Any = ("--log-config", "log.json", "--log-file", "x.log")
    run = epollo("serve", *flags, cwd=tmp_path)
    text = "--log-file: --log-config says where the log goes; leave one of them out\n"
    assert run.stderr == f"epollo: error: {text}"


def test_without_python_json_logger_the_option_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "pythonjsonlogger.py").write_text("raise ModuleNotFoundError\n")
    env = os.environ | {"PYTHONPATH": f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}"}
    run = epollo("serve", "--log-format", "json", cwd=tmp_path, env=env)
    text = "--log-format: json needs python-json-logger; pip install 'epollo[json-logs]'\n"
    assert run.stderr == f"epollo: error: {text}"
    assert run.returncode == 2


def test_workers_write_to_the_file_that_has_the_name_now(tmp_path: Path) -> None:
    """The supervisor takes the signal, and tells its workers."""
    path = tmp_path / "access.log"
    with serving("--workers", "2", "--access-log", str(path)) as server:
        exchange(server.address, b"m")
        until_lines(path, 1)
        subprocess.run(["mv", str(path), f"{path}.1"], check=True)
        server.signal(signal.SIGUSR1)
        until(path.exists)

        def is_written_by_all() -> bool:
            exchange(server.address, b"m")
            return len({line.split("[")[1].split("]")[0] for line in lines_of(path)}) == 2

        until(is_written_by_all)
        server.signal(signal.SIGTERM)
        assert server.wait() == 0
