"""`epollo lab` on the command line: tables, verdicts, files and errors."""

from __future__ import annotations

import importlib.util
import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from epollo.engine import available
from epollo.errors import UsageError
from epollo.lab import report
from epollo.lab.commands import lab
from epollo.lab.comparison import ComparedServer, Comparison

POLLERS = ["pollers", "--idle", "20,5", "--time", "1ms"]
BACKLOG = ["backlog", "--queues", "64", "-c", "4", "--busy", "10ms", "--wait", "1s"]


PEERS = ["peers", "-c", "2", "--depth", "2", "--seconds", "200ms", "--rounds", "1"]


@pytest.fixture
def measured(comparison_result: Comparison, monkeypatch: pytest.MonkeyPatch) -> Comparison:
    """A finished run, with another peer that is not installed."""
    missing = ComparedServer("other", "other", missing="other")
    servers = [*comparison_result.servers, missing]
    result = replace(comparison_result, servers=servers)
    monkeypatch.setattr(report, "run_peers", lambda *_: result)
    return result


def run(*arguments: str) -> Result:
    return CliRunner().invoke(lab, arguments)


def test_pollers_prints_a_table_that_can_be_pasted_and_the_verdicts() -> None:
    result = run(*POLLERS)
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert "Python" in lines[0]
    assert "idle connections" in lines[2]
    assert [line.split("|")[1].strip() for line in lines[4:6]] == ["5", "20"]
    assert "\x1b" not in result.output
    assert all(line == line.rstrip() for line in lines)
    claims = [line for line in lines if line.startswith("Claim")]
    assert "holds here" in claims[0]
    assert "cannot be told from this run: give --idle a wider range" in claims[1]


def test_backlog_prints_a_table_that_can_be_pasted_and_the_verdict() -> None:
    result = run(*BACKLOG)
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[1].startswith("somaxconn ")
    cells = [cell.strip() for cell in lines[5].split("|")[1:-1]]
    assert cells[:2] == ["64", "4"]
    assert sum(map(int, cells[2:5])) == 4
    assert lines[-1].startswith('Claim 3, "100 clients at once')


def test_json_on_stdout_is_alone_there() -> None:
    result = run(*POLLERS, "--json", "-")
    document = json.loads(result.stdout)
    assert (document["version"], document["experiment"]) == (1, "pollers")
    assert [w["idle"] for w in document["wake_ups"] if w["poller"] == "select"] == [5, 20]
    assert document["select_end"]["refused"] >= 1024
    assert [verdict["holds"] for verdict in document["verdicts"]] == ["yes", "unknown"]
    assert "Claim 1" in result.stderr


def test_json_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "backlog.json"
    result = run(*BACKLOG, "--json", str(path))
    assert "Claim 3" in result.stdout
    document = json.loads(path.read_text())
    assert (document["version"], document["experiment"]) == (1, "backlog")
    (found,) = document["results"]
    assert found["clients"] == len(found["attempts"]) == 4
    assert found["replied_within_1s"] + found["replied_later"] + found["never_replied"] == 4
    assert found["connected_within_1s_without_reply"] <= found["connected_within_1s"] <= 4
    assert document["verdicts"][0]["claim"] == 3


def test_peers_prints_a_table_and_its_meaning(measured: Comparison) -> None:
    result = run(*PEERS)
    assert result.exit_code == 0, result.output
    rows = [line for line in result.stdout.splitlines() if line.startswith("|")]
    assert len(rows) == 2 + len(measured.servers)
    assert f"| epollo, {available()[0]} engine " in rows[2]
    assert " 1.00 (1.00-1.00) " in rows[2]
    assert "not installed: pip install other" in rows[-1]
    assert "2 connections, messages of 64 B, closed loop; rounds: 1 of 200 ms" in result.stdout


def test_peers_as_json(measured: Comparison) -> None:
    document = json.loads(run(*PEERS, "--json", "-").stdout)
    assert (document["version"], document["experiment"]) == (1, "peers")
    assert document["base"] == available()[0]
    assert [server["name"] for server in document["servers"]] == [s.name for s in measured.servers]
    first, last = document["servers"][0], document["servers"][-1]
    assert first["depths"][0]["ratio"] == {"median": 1.0, "lowest": 1.0, "highest": 1.0}
    assert last == {"name": "other", "label": "other", "missing": "other"}
    assert document["turns"][0]["load"]["rate"] > 0
    assert sys.executable not in json.dumps(document)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["pollers", "--idle", "10,many"], "'many' is not a count such as 100 or 10k"),
        (["pollers", "--idle", ""], "--idle: is empty; write --idle N,N,..."),
        (["pollers", "--idle", "0"], "'0' is not within 1 to"),
        (["pollers", "--time", "0"], "'0' is not a time over 0"),
        (["backlog", "--queues", "1,-5"], "'-5' is not a count"),
        (["backlog", "-c", "1e9"], "'1e9' is not a count"),
        (["peers", "--depth", "1,0"], "'0' is not within 1 to"),
        (["peers", "--size", "17MiB"], "'17MiB' is more than 16 MiB"),
        (["peers", "--seconds", "0"], "'0' is not a time over 0"),
        (["backlog", "--busy", "soon"], "'soon' is not a time such as 250ms"),
    ],
)
def test_an_invalid_number_is_one_line(arguments: list[str], text: str) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert text in result.stderr


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["backlog", "--busy", "1s"], "--busy must be below 1 s"),
        (["backlog", "--wait", "900ms"], "--wait must be at least 1 s"),
        (["backlog", "--plot", "x.jpg"], "--plot x.jpg: the name must end in .png or .svg"),
        (["pollers", "--plot", "/nowhere/x.png"], "there is no directory /nowhere"),
        (["pollers", "--json", "/nowhere/x"], "there is no directory /nowhere"),
        (["pollers", "--json", "/"], "is a directory"),
        (["pollers", "--idle", "900k"], "ulimit -Hn"),
        (["peers", "-c", "900k"], "ulimit -Hn"),
        (["peers", "--plot", "x.jpg"], "--plot x.jpg: the name must end in .png or .svg"),
    ],
)
def test_impossible_options_are_one_line_before_the_run(arguments: list[str], text: str) -> None:
    error = run(*arguments).exception
    assert isinstance(error, UsageError)
    assert text in str(error)
    assert "\n" not in str(error)


def test_a_picture_without_matplotlib_is_refused_with_the_fix(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    error = run(*POLLERS, "--plot", str(tmp_path / "x.png")).exception
    assert isinstance(error, UsageError)
    assert "pip install 'epollo[plot]'" in str(error)
