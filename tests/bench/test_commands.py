"""``epollo bench`` as a user meets it: in a pipe, in a terminal, interrupted, and mistyped."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import click
import pytest

from epollo import Server
from epollo.bench import Workload
from epollo.bench.cli.bench import bench
from tests.bench.hostile import Accepted, hostile
from tests.bench.support import made_up
from tests.bench.terminal import new_screen, run_here, terminal
from tests.documents import ROOT, Document
from tests.support import DEADLINE, Peer, epollo, epollo_here, serving

QUICK = ["--connections", "5", "--messages", "1000", "--warmup", "0"]


# -- in a pipe


def test_a_report_that_cannot_be_written_is_one_line_and_costs_no_file(tmp_path: Path) -> None:
    file = tmp_path / "result.json"
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "epollo", "bench", *QUICK, "--json", str(file)]
        run = subprocess.run(
            command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, check=False
        )
    assert run.returncode == 1
    assert run.stderr == "epollo: error: cannot write to stdout: no space left on device\n"
    assert json.loads(file.read_text())["messages"] == 1000


def test_a_pipe_gets_a_plain_report_and_no_progress() -> None:
    run = epollo("bench", *QUICK, env=os.environ | {"FORCE_COLOR": "1"})
    assert run.returncode == 0
    assert run.stderr == ""
    assert "\x1b" not in run.stdout
    assert "mean round trip " in run.stdout
    assert "\nmessages     1,000 answered of 1,000 sent, " in run.stdout
    assert run.stdout.endswith("in order and verified to the byte; no errors\n")


def test_json_on_stdout_is_all_of_it() -> None:
    run = epollo("bench", *QUICK, "-q", "--json", "-")
    assert (run.returncode, run.stderr) == (0, "")
    document = json.loads(run.stdout)
    assert document["version"] == 3
    assert document["messages"] == document["response"]["count"] == 1000
    assert document["workload"]["messages"] == 1000
    assert document["workload"]["duration"] is None
    assert document["rate"] == pytest.approx(1000 / document["elapsed"])
    assert document["errors"] == {}
    percentiles = document["response"]["percentiles"]
    known = [value for value in percentiles.values() if value is not None]
    assert known == sorted(known)
    assert percentiles["100"] == document["response"]["maximum"]


def test_json_in_a_file_leaves_the_report_on_the_screen(tmp_path: Path) -> None:
    file = tmp_path / "result.json"
    run = epollo_here("bench", *QUICK, "--json", str(file))
    assert run.returncode == 0
    assert run.stdout.startswith("epollo bench 127.0.0.1:")
    assert json.loads(file.read_text())["messages"] == 1000


def test_quiet_says_nothing() -> None:
    run = epollo("bench", *QUICK, "--quiet")
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")


def test_a_reader_who_has_had_enough_is_no_traceback() -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "epollo", "bench", *QUICK],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(DEADLINE) == 1


# -- against servers


def test_the_server_beside_takes_a_proxys_word() -> None:
    run = epollo_here("bench", *QUICK, "--proxy-header", "v2", "-q")
    assert (run.returncode, run.stderr) == (0, "")


def test_a_server_elsewhere_with_the_options_of_the_run() -> None:
    with serving("--framing", "line") as server:
        run = epollo_here(
            "bench", server.address, *QUICK, "-f", "line", "--depth", "4", "-s", "1KiB"
        )
    assert run.returncode == 0
    assert run.stdout.startswith(
        f"epollo bench {server.address}\n"
        "5 connections, closed loop of depth 4, 1 KiB messages, framing line\n"
    )


def test_messages_larger_than_the_server_beside_would_take_by_itself() -> None:
    run = epollo_here("bench", "-c", "2", "-n", "4", "--warmup", "0", "-s", "20MiB", "-q")
    assert (run.returncode, run.stderr) == (0, "")


def test_a_server_that_dies_is_status_1() -> None:
    load = ["-d", "60s", "--warmup", "0"]
    with serving() as server, terminal("bench", server.address, *load) as run:
        run.wait_for("msg/s")
        server.process.kill()
        assert run.status() == 1
        report = run.report()
    assert "\nverdict      FAILED: " in report
    assert ", unanswered 100; 100 connections lost; " in report
    assert "; ended after " in report


# -- every field of a workload


@pytest.fixture
def workload(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Workload]:
    """The Workload that flags stand for, without a run of it."""
    seen: list[dict[str, Any]] = []

    def session(_: str, load: dict[str, Any], *arguments: object) -> int:
        seen.append(load)
        return 0

    monkeypatch.setattr("epollo.bench.cli.bench_session.run_bench", session)

    def meant(*flags: str) -> Workload:
        bench.main(["127.0.0.1:1", *flags], standalone_mode=False)
        return Workload(address="127.0.0.1:1", **seen.pop())

    return meant


@pytest.mark.parametrize(
    ("flags", "field", "value"),
    [
        ("-c 2k", "connections", 2000),
        ("-n 10k", "messages", 10_000),
        ("-n 10k", "duration", None),
        ("-d 250ms", "duration", 0.25),
        ("-n 10k -d 1m", "duration", 60.0),
        ("--warmup 0", "warmup", 0.0),
        ("--depth 16", "depth", 16),
        ("-R 50k", "rate", "50k"),
        ("-R 10k..20k/5s", "seconds", 5.0),
        ("-R 10k --arrival poisson", "arrival", "poisson"),
        ("--think 5ms", "think", 0.005),
        ("--reconnect-every 10", "reconnect_every", 10),
        ("--connection-rate 0.5", "connection_rate", 0.5),
        ("-s 64:9,1KiB:1", "size", "64:9,1KiB:1"),
        ("--template {number}", "template", "{number}"),
        ("--payload a.bin", "payload", "a.bin"),
        ("--expect any", "expect", "any"),
        ("-f line", "framing", "line"),
        ("--timeout 2s", "timeout", 2.0),
        ("--source 127.0.0.2,127.0.0.3", "source", ("127.0.0.2", "127.0.0.3")),
        ("--tls", "tls", True),
        ("--tls --tls-ca any", "tls_ca", "any"),
        ("--tls --tls-cert a.pem", "tls_cert", "a.pem"),
        ("--tls --tls-key a.key", "tls_key", "a.key"),
        ("--tls --tls-alpn h2,chat", "tls_alpn", ("h2", "chat")),
        ("--tls --tls-min-version 1.3", "tls_min_version", "1.3"),
        ("--tls --server-name example.org", "server_name", "example.org"),
        ("--proxy-header v2", "proxy_header", "v2"),
        ("--processes 2", "processes", 2),
        ("--engine python", "engine", "python"),
        ("--seed 7", "seed", 7),
    ],
)
def test_each_field_has_a_flag(
    flags: str, field: str, value: object, workload: Callable[..., Workload]
) -> None:
    meant = workload(*flags.split())
    assert getattr(meant, field) == value


def test_no_field_is_without_a_flag() -> None:
    flags = {parameter.name for parameter in bench.params}
    assert {field.name for field in fields(Workload)} <= flags


def test_the_defaults_that_the_help_tells_are_those_of_a_workload(
    workload: Callable[..., Workload],
) -> None:
    told = []
    for parameter in bench.params:
        default = re.search(r"\[default: (\w+)[],]", getattr(parameter, "help", None) or "")
        if default is not None:
            told += [parameter.opts[-1], default[1]]
    assert "--connections" in told
    told.remove("--arrival")  # which is for an open loop, and would be refused
    told.remove("constant")
    meant = workload(*told)
    assert meant.sizes == workload().sizes
    assert replace(meant, size=64) == workload()


def test_the_page_has_the_defaults_that_the_help_has() -> None:
    told = {}
    for parameter in bench.params[1:]:
        match = re.search(r"\[default: (\S+)\]", getattr(parameter, "help", None) or "")
        told[parameter.opts[-1]] = match[1] if match else "none"
    rows = Document(ROOT / "docs" / "bench.md").rows("flag", "default")
    assert rows
    for flag, default, *_ in rows:
        assert told[flag.strip("`")] == default.replace("off", "none"), flag


def test_the_help_has_its_flags_by_subject() -> None:
    shown = epollo("bench", "--help").stdout
    subjects = re.findall(r"^(\S.*):$", shown, re.MULTILINE)
    assert subjects[0] == "Amount"
    assert subjects[-1] == "Help"
    flags = [flag for parameter in bench.params[1:] for flag in parameter.opts]
    assert [flag for flag in flags if flag not in shown] == []


# -- limits


def test_a_limit_that_was_passed_is_status_1_in_words() -> None:
    run = epollo_here("bench", *QUICK, "--fail-if", "p99>1ns", "--fail-if", "messages<1000")
    assert (run.returncode, run.stderr) == (1, "")
    verdict = run.stdout.splitlines()[-1]
    assert verdict.startswith("verdict      FAILED: ")
    assert "p99>1ns" in verdict
    assert verdict.endswith("; 1 limit held")


def test_a_limit_of_a_run_of_another_load_is_refused_before_the_run(tmp_path: Path) -> None:
    (tmp_path / "before.json").write_text(made_up(seconds=1, depth=4).to_json())
    limit = ["--fail-if", "p99>9000*before.json"]
    refused = epollo_here("bench", *QUICK, *limit, cwd=tmp_path)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "this run is of another load than before.json: connections " in refused.stderr
    assert "depth 1 instead of 4; run the same load, or add --different-load" in refused.stderr


@pytest.mark.parametrize("without", [["-q"], ["--json", "-"]])
def test_without_a_report_a_failure_is_a_line_on_stderr(without: list[str]) -> None:
    run = epollo_here("bench", *QUICK, *without, "--fail-if", "p99>1ns")
    assert run.returncode == 1
    assert run.stderr.startswith("epollo: FAILED: ")
    assert run.stderr.count("\n") == 1


def test_a_limit_on_errors_says_how_many_there_may_be() -> None:
    """A server that closes in the middle loses what it was asked last."""

    def close(peer: Accepted) -> None:
        peer.talk()
        peer.next_frame()

    with hostile(close) as where:
        load = ["bench", where, "-c", "2", "-n", "100", "--warmup", "0", "-q"]
        allowed = epollo_here(*load, "--fail-if", "errors>4")
        passed = epollo_here(*load, "--fail-if", "errors>3")
    assert (allowed.returncode, allowed.stderr) == (0, "")
    assert passed.returncode == 1
    assert "errors>3" in passed.stderr


# -- files


def test_all_files_of_a_run(tmp_path: Path) -> None:
    names = {
        "json": "run.json",
        "hlog": "run.hlog",
        "csv": "run.csv",
        "html": "run.html",
        "plot": "run.svg",
    }
    flags = [word for flag, name in names.items() for word in (f"--{flag}", str(tmp_path / name))]
    run = epollo("bench", *QUICK, "--rate", "5k", *flags)
    assert (run.returncode, run.stderr) == (0, "")
    text = {flag: (tmp_path / name).read_text() for flag, name in names.items()}
    assert json.loads(text["json"])["messages"] == 1000
    assert text["hlog"].startswith("#[Histogram log format")
    assert text["csv"].startswith("time,start,seconds,target,rate,")
    assert text["html"].lower().startswith("<!doctype html>")
    assert "<svg" in text["plot"]


# -- mistyped


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["8091"], "bad address '8091': no host; write 127.0.0.1:8091"),
        (["-c", "0"], "connections: must be at least 1"),
        (["-c", "many"], "'many' is not a count such as 100 or 10k"),
        (["-s", "1KB"], "'1KB' is not a size such as 64KiB"),
        (["-d", "soon"], "'soon' is not a time such as 250ms"),
        (["-f", "u33"], "unknown framing 'u33': did you mean u32?"),
        (["-f", "raw"], "framing: raw has no messages to time"),
        (["-f", "u8", "-s", "300"], "size: message of 300 bytes is longer than a u8 length"),
        (["--json", "/no/such/folder/x"], "--json /no/such/folder/x: there is no directory"),
        (["--json", "/"], "--json /: is a directory; name a file"),
        (["--hlog", "/no/such/folder/x"], "--hlog /no/such/folder/x: there is no directory"),
        (["--csv", "/"], "--csv /: is a directory; name a file"),
        (["--html", "/"], "--html /: is a directory; name a file"),
        (["--plot", "a.gif"], "--plot a.gif: the name must end in .png or .svg"),
        (["--json", "-", "--csv", "-"], "--json and --csv: only one can be - (stdout)"),
        (
            ["--json", "a.out", "--csv", "./a.out"],
            "--json and --csv: only one can be /",
        ),
        (["--fail-if", "p99 is low"], "p99 is low"),
        (["--payload", ""], "--payload: is empty; write --payload FILE, or leave it out"),
        (["--source", "127.0.0.2,"], "'127.0.0.2,' has an empty address in it"),
        (["-R", "fast"], "rate: 'fast' is not a number such as 0.5, 100 or 10k"),
        (["-R", "1k..2k"], "rate: how long is '1k..2k'? write 1k..2k/10s"),
        (["-R", "1k/5s", "-d", "5s"], "--duration: --rate has a length for each step"),
        (["-R", "1k", "--depth", "2"], "depth: only for a closed loop"),
        (["--arrival", "poisson"], "arrival: only for an open loop; give a rate too"),
        (["--size", "1", "--payload", "x"], "--size and --payload: give only one"),
        (["--tls"], "--tls: the local echo server has no certificate; start one"),
        (["127.0.0.1:1", "--tls-ca", "any"], "--tls-ca: only for TLS; give --tls too"),
        (["127.0.0.1:1", "--proxy-header", "v3"], "--proxy-header: 'v3' is neither v1 nor v2"),
        (["127.0.0.1:1", "--engine", "warp"], "warp"),
        (["--no-such-option"], "no option --no-such-option: epollo bench --help lists"),
        (["127.0.0.1:1", "127.0.0.1:2"], "127.0.0.1:2: epollo bench takes only one ADDRESS"),
    ],
)
def test_a_wrong_command_line_is_one_line_and_status_2(
    arguments: list[str], why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with new_screen() as screen:
        assert run_here(screen, monkeypatch, "bench", *arguments) == (2, "")
        screen.assert_as_found()
        said = screen.said()
    assert said.startswith("epollo: error: ")
    assert why in said
    assert said.count("\n") == 1


TAKES_A_VALUE = [
    parameter.opts[-1]
    for parameter in bench.params
    if isinstance(parameter, click.Option) and not parameter.is_flag
]


@pytest.mark.parametrize("flag", TAKES_A_VALUE)
def test_an_empty_value_is_not_taken_for_the_default(flag: str) -> None:
    """As a variable that a script has not set: nobody hears of a test that was another one."""
    with pytest.raises(
        click.UsageError, match=rf"^{flag}: is empty; write {flag} \S+, or leave it out$"
    ):
        bench.main([flag, ""], standalone_mode=False)


def test_an_empty_address_is_not_the_server_beside() -> None:
    with pytest.raises(click.UsageError, match=r"^ADDRESS: is empty; write ADDRESS, or leave"):
        bench.main([""], standalone_mode=False)


# -- in a terminal


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_told_to_go_it_reports_and_leaves_nothing_behind(
    number: signal.Signals, tmp_path: Path
) -> None:
    file = tmp_path / "result.json"
    load = ["-c", "5", "-d", "60s", "--warmup", "0", "--json", str(file)]
    with terminal("bench", *load) as run:
        run.wait_for("connecting 5, warming up")
        run.wait_for(" msg/s   p50 ")
        run.process.send_signal(number)
        assert run.status() == 0
        run.assert_as_found()
        report = run.report()
    assert report.endswith("in order and verified to the byte; no errors; ended early, as asked\n")
    assert json.loads(file.read_text())["interrupted"]
    server = report.split("\n")[0].removeprefix("epollo bench ")
    with pytest.raises(ConnectionRefusedError):
        Peer(server)


@pytest.mark.parametrize("second", [signal.SIGINT, signal.SIGTERM])
def test_told_twice_it_leaves_at_once(second: signal.Signals) -> None:
    """Though nothing answers, and the timeout is far away."""
    asked = threading.Event()

    def be_silent(peer: Accepted) -> None:
        peer.next_frame()
        asked.set()
        peer.hold()

    load = ["-c", "5", "--warmup", "0", "--timeout", "60s"]
    with hostile(be_silent) as where, terminal("bench", where, *load) as run:
        assert asked.wait(DEADLINE)
        run.process.send_signal(signal.SIGINT)
        run.wait_for("ending: waiting up to 60 s for replies; once more (Ctrl-C) leaves at once")
        run.process.send_signal(second)
        assert run.status() == 130
        run.assert_as_found()
        # On a line of its own, for behind the last one the terminal may have shown ^C.
        assert run.said() == "\nepollo: error: interrupted\n"
        assert run.report() == ""


def test_quiet_shows_nothing_on_a_terminal_either() -> None:
    with terminal("bench", *QUICK, "-q") as run:
        assert run.report() == ""
        assert run.status() == 0
        assert run.said() == run.shown.decode() == ""


# -- ended early, where asked for


@pytest.mark.parametrize(
    "load",
    [["-R", "200", "--stop-if", "p50>1ns"], ["-R", "100m", "--stop-if", "late>1%"]],
    ids=["limit", "rate"],
)
def test_a_run_ends_when_a_limit_is_lost(load: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Long before its minute is over."""
    more = ["-c", "2", "-d", "60s", "--warmup", "0", "--timeout", "1s"]
    with Server(lambda message: message, "127.0.0.1:0") as server, new_screen() as screen:
        status, report = run_here(screen, monkeypatch, "bench", server.addresses[0], *more, *load)
    assert status == 1
    assert "\n60 s measured" not in report
