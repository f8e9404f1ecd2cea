"""Commands write their text whatever the encoding of stdout, and whatever bytes an address has."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from epollo.bench import Result
from epollo.bench.output import html
from epollo.bench.results import hlog
from tests.bench.support import made_up
from tests.support import Peer, epollo, frame, serving

NO_MICRO = ["koi8-r", "shift_jis", "gb2312"]  # encodings without the µ of µs


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """A folder with two results, whose times are in microseconds."""
    for number, name in enumerate(("a", "b")):
        (tmp_path / f"{name}.json").write_text(made_up(seconds=2, seed=number).to_json())
    return tmp_path


def said(encoding: str, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a command whose stdout has that encoding."""
    env = os.environ | {"PYTHONIOENCODING": encoding}
    return epollo(*arguments, env=env, encoding=encoding, errors="replace", **options)


def is_clean(run: subprocess.CompletedProcess[str], words: str) -> bool:
    """Did the command succeed, without a word on stderr, and print these words?"""
    return run.returncode == 0 and run.stderr == "" and words in run.stdout


@pytest.mark.parametrize("encoding", NO_MICRO)
def test_a_report_in_each_encoding(encoding: str, runs: Path) -> None:
    assert is_clean(said(encoding, "report", "a.json", cwd=runs), "\nverdict      every reply came")


def test_a_comparison_in_each_encoding(runs: Path) -> None:
    compared = said("koi8-r", "report", "a.json", "b.json", cwd=runs)
    assert is_clean(compared, "Ratios with 95 % intervals")


def test_the_report_of_a_run_in_each_encoding() -> None:
    load = ["-c", "2", "-n", "100", "--warmup", "0", "--fail-if", "p99>1us"]
    run = said("koi8-r", "bench", *load)
    assert (run.returncode, run.stderr) == (1, "")
    assert "\nverdict      FAILED: p99 is " in run.stdout


def test_a_search_in_each_encoding() -> None:
    load = ["-c", "2", "-d", "100ms", "-R", "100", "--warmup", "0", "--find-rate", "p99<1us"]
    with serving() as server:
        run = said("koi8-r", "bench", server.address, *load)
    assert (run.returncode, run.stderr) == (1, "")
    assert "FAILED: no rate found" in run.stdout


@pytest.mark.parametrize("encoding", ["koi8-r", "ascii"])
def test_an_experiment_in_each_encoding(encoding: str) -> None:
    run = said(encoding, "lab", "pollers", "--idle", "10", "--time", "1ms")
    assert (run.returncode, run.stderr) == (0, "")
    assert "epoll" in run.stdout


def test_a_server_is_ready_in_each_encoding(tmp_path: Path) -> None:
    path = tmp_path / "µ"
    env = {"PYTHONIOENCODING": "koi8-r"}
    with serving(bind=f"unix:{path}", env=env), Peer(f"unix:{path}") as peer:
        peer.send(frame(b"hello"))
        assert peer.receive(9) == frame(b"hello")


# -- addresses that are not text: a path may have any byte


@pytest.fixture
def elsewhere() -> Result:
    """The result of a run against a Unix socket whose name is not UTF-8."""
    run = made_up(seconds=2)
    name = os.fsdecode(b"unix:/tmp/\xff")
    return replace(run, workload=replace(run.workload, address=name))


def test_a_report_on_an_address_that_is_not_text(elsewhere: Result, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(elsewhere.to_json())
    run = said("utf-8", "report", "run.json", cwd=tmp_path)
    assert is_clean(run, "\nverdict      every reply came")


def test_a_log_with_an_address_that_is_not_text(elsewhere: Result, tmp_path: Path) -> None:
    hlog.write(str(tmp_path / "run.hlog"), elsewhere)
    assert "unix:/tmp/" in (tmp_path / "run.hlog").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def fonts() -> None:
    """Open the fonts: matplotlib keeps their files open for as long as the process lives."""
    pytest.importorskip("matplotlib")
    html.page([made_up()])


@pytest.mark.usefixtures("fonts")
def test_a_page_with_an_address_that_is_not_text(elsewhere: Result, tmp_path: Path) -> None:
    html.write(str(tmp_path / "run.html"), [elsewhere])
    assert "unix:/tmp/" in (tmp_path / "run.html").read_text(encoding="utf-8")
