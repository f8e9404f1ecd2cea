"""The tester's own floor: round trips with a server that does nothing."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from epollo import Server
from epollo.bench import Driver, Workload
from epollo.bench.floor import measuring
from epollo.bench.floor.measuring import is_worthwhile, measure_floor
from epollo.engine import available
from tests.support import DEADLINE, epollo_here, unused

NOBODY = "127.0.0.1:1"


def load(**changes: Any) -> Workload:
    return Workload(**{"address": NOBODY} | changes)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes twenty messages and not a time, in which there may be none on a busy machine."""

    def driver(workload: Workload) -> Driver:
        assert workload.duration == measuring.SECONDS
        return Driver(replace(workload, duration=None, messages=20, warmup=0.0, timeout=DEADLINE))

    monkeypatch.setattr(measuring, "Driver", driver)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"address": "unix:/nobody"},
        {"framing": "line", "size": "20..200"},
        {"framing": "modbus", "expect": "any"},
        {"framing": "length(offset=2,size=2,strip=4)", "expect": "any"},
        {"expect": "tests.bench.reply_checks:same_after_50_ms"},
        {"match": "bytes(0,8)", "rate": 1000, "arrival": "poisson"},
        {"payload": __file__, "preamble": __file__, "preamble_replies": 2, "greeting": 1},
        {"template": "{number}", "framing": "line"},
        {"tls": True, "tls_ca": "any", "proxy_header": "v2", "source": ("127.0.0.1",)},
        {"connections": 50, "processes": 2, "depth": 8, "reconnect_every": 3},
        {"size": 200_000},
    ],
    ids=str,
)
@pytest.mark.usefixtures("counted")
def test_it_is_measured_with_what_any_echo_can_answer(changes: dict[str, Any]) -> None:
    floor = measure_floor(load(**changes))
    assert floor is not None
    assert floor.messages == 20
    assert 1000 < floor.p50 <= floor.p99  # ns


@pytest.mark.usefixtures("counted")
@pytest.mark.parametrize("engine", available())
def test_it_is_that_of_the_engine_of_the_run(engine: str) -> None:
    floor = measure_floor(load(engine=engine))
    assert floor is not None
    assert floor.exchange == "64 B messages over TCP, one at a time"


def test_it_is_not_measured_where_it_would_mean_nothing() -> None:
    assert measure_floor(load(expect="none", rate=10)) is None
    assert measure_floor(load(size="2MiB")) is None


def test_messages_from_a_pipe_are_left_to_the_run(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert measure_floor(load(payload=str(tmp_path / "pipe"))) is None


def test_it_is_measured_before_long_runs_only() -> None:
    assert is_worthwhile(load())
    assert is_worthwhile(load(duration=2.0))
    assert not is_worthwhile(load(duration=1.9))
    assert not is_worthwhile(load(duration=None, messages=10))
    assert is_worthwhile(load(rate="1k/1s,2k/1s"))


@pytest.mark.usefixtures("counted")
def test_the_command_measures_it_if_asked_to() -> None:
    with Server(lambda message: message, "127.0.0.1:0") as server:
        short = [server.addresses[0], "-c", "2", "-d", "100ms", "--warmup", "0", "--json", "-"]
        floors = [
            json.loads(epollo_here("bench", *short, *flag).stdout)["floor"]
            for flag in ([], ["--no-floor"], ["--floor"])
        ]
    assert floors[:2] == [None, None]
    assert 0 < floors[2]["p50"] <= floors[2]["p99"]


@pytest.mark.usefixtures("counted")
def test_a_run_of_two_seconds_has_it_in_its_report_unless_told_not_to() -> None:
    with Server(lambda message: message, "127.0.0.1:0") as server:
        command = ["bench", server.addresses[0], "-c", "1", "-d", "2s", "--warmup", "0"]
        assert "\nfloor        median " in epollo_here(*command).stdout
        assert "\nfloor " not in epollo_here(*command, "--no-floor").stdout


def test_the_server_sees_nothing_of_it() -> None:
    """Whoever counts connections or messages counts those of the run."""
    seen: list[bytes] = []

    def count(message: bytes) -> bytes:
        seen.append(message)
        return message

    with Server(count, "127.0.0.1:0") as server:
        run = epollo_here("bench", server.addresses[0], "-c", "1", "-n", "10", "--floor")
    assert run.returncode == 0
    assert len(seen) >= 10
    assert "connections  1 of 1 opened" in run.stdout
    assert len({message[8:12] for message in seen}) == 1  # of one connection


def test_a_search_does_not_measure_it() -> None:
    run = epollo_here("bench", NOBODY, "--find-rate", "p99<5ms", "--floor")
    assert (run.returncode, run.stderr) == (
        2,
        "epollo: error: --floor: not measured with --find-rate; leave it out\n",
    )


def test_a_server_that_is_not_there_is_refused_as_without_it() -> None:
    with unused() as address:
        run = epollo_here("bench", address, "--floor")
    assert run.returncode == 1
    assert "cannot connect to" in run.stderr
