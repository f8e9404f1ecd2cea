"""The telemetry sink: what it has acknowledged is in the database, once."""

from __future__ import annotations

import json
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from tests.documents import ROOT
from tests.examples.support import example
from tests.support import Peer, ServerProcess, serving

DEVICES = [f"device{number}" for number in range(8)]
READINGS = 500  # of each device


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "telemetry.db"


@pytest.fixture
def sink(database: Path) -> Iterator[ServerProcess]:
    with example("telemetry", str(database)) as server:
        yield server


def reading(device: str, number: int, value: float = 0.5) -> bytes:
    return json.dumps({"device": device, "number": number, "value": value}).encode() + b"\n"


def stored(database: Path) -> list[tuple[str, int, float]]:
    with closing(sqlite3.connect(database)) as connection:
        return connection.execute("SELECT * FROM readings").fetchall()


def replies(data: bytes) -> list[dict[str, object]]:
    """The whole lines of ``data``."""
    return [json.loads(line) for line in data.split(b"\n")[:-1]]


def end(server: ServerProcess) -> None:
    server.signal(signal.SIGTERM)
    assert server.wait() == 0
    assert [line for line in server.log if "INFO" not in line] == []


def test_all_that_is_acknowledged_is_there_once(sink: ServerProcess, database: Path) -> None:
    """SIGTERM comes amid the readings, of which each was sent twice."""
    with ExitStack() as stack:
        peers = {device: stack.enter_context(Peer(sink.address)) for device in DEVICES}
        for device, peer in peers.items():
            peer.send(b"".join(2 * reading(device, number) for number in range(READINGS)))
        first = {device: peer.receive(len(b'{"stored": 0}\n')) for device, peer in peers.items()}
        end(sink)
        answers = {
            device: replies(first[device] + peers[device].receive_all()) for device in DEVICES
        }
    rows = stored(database)
    assert len(rows) == len(set(rows))
    for device, acknowledged in answers.items():
        assert acknowledged == [{"stored": index // 2} for index in range(len(acknowledged))]
        assert {(device, index // 2, 0.5) for index in range(len(acknowledged))} <= set(rows)


def test_what_is_acknowledged_survives_a_kill(sink: ServerProcess, database: Path) -> None:
    with Peer(sink.address) as peer:
        peer.send(b"".join(reading("boiler", number) for number in range(100, 900)))
        acknowledged = replies(peer.receive(300 * len(b'{"stored": 100}\n')))
        sink.signal(signal.SIGKILL)
        sink.wait()
    numbers = [number for _, number, _ in stored(database)]
    assert acknowledged == [{"stored": number} for number in range(100, 400)]
    assert len(numbers) == len(set(numbers))
    assert set(range(100, 400)) <= set(numbers)


def test_every_reading_is_acknowledged(sink: ServerProcess, database: Path) -> None:
    with ExitStack() as stack:
        peers = {device: stack.enter_context(Peer(sink.address)) for device in DEVICES}
        for device, peer in peers.items():
            peer.send(b"".join(reading(device, number, number) for number in range(READINGS)))
            peer.end()
        for peer in peers.values():
            expected = [{"stored": number} for number in range(READINGS)]
            assert replies(peer.receive_all()) == expected
    end(sink)
    expected_rows = [(device, number, number) for device in DEVICES for number in range(READINGS)]
    assert sorted(stored(database)) == sorted(expected_rows)


@pytest.mark.parametrize(
    "line",
    [
        b"no json",
        b"\xff",
        b"[]",
        b"[" * 100_000,
        b'{"device": "boiler", "number": 1}',
        b'{"device": "boiler", "number": 1, "value": NaN}',
        b'{"device": "boiler", "number": 1, "value": 1%s}' % (b"0" * 400),
        b'{"device": "boiler", "number": 1, "value": "warm"}',
        b'{"device": "boiler", "number": 1.5, "value": 1}',
        b'{"device": "boiler", "number": 9223372036854775808, "value": 1}',
        b'{"device": "\\ud800", "number": 1, "value": 1}',
    ],
    ids=lambda line: line[:40],
)
def test_what_is_no_reading_is_refused_and_the_next_is_stored(
    sink: ServerProcess, database: Path, line: bytes
) -> None:
    with Peer(sink.address) as peer:
        peer.send(line + b"\n" + reading("boiler", 7))
        peer.end()
        refusal, acknowledgement = replies(peer.receive_all())
    assert list(refusal) == ["error"]
    assert acknowledgement == {"stored": 7}
    end(sink)
    assert stored(database) == [("boiler", 7, 0.5)]


def test_epollo_serve_serves_it_too(tmp_path: Path) -> None:
    root = str(ROOT)
    flags = ("--framing", "line", "--in-flight", "1000")
    paths = {"PYTHONPATH": f"{root}:{root}/src"}
    with serving("examples.telemetry:Sink", *flags, cwd=tmp_path, env=paths) as server:
        with Peer(server.address) as peer:
            peer.send(reading("boiler", 1, 20.5))
            assert replies(peer.receive(14)) == [{"stored": 1}]
        end(server)
    assert stored(tmp_path / "telemetry.db") == [("boiler", 1, 20.5)]
