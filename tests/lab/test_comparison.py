"""A small comparison of epollo with its peers, with real servers and loads, without timing."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from epollo import address
from epollo.engine import available
from epollo.errors import ConnectError, EpolloError, UsageError
from epollo.lab.comparison import (
    ComparedServer,
    Comparison,
    Median,
    Turn,
    command,
    compared_servers,
    run_peers,
)
from epollo.lab.loading import Load, cpu_seconds, load
from epollo.lab.peers import PEERS
from epollo.lab.processes import Running, output_of, running, two_cores
from tests.support import DEADLINE

ECHO = ComparedServer(available()[0], "epollo")


def test_every_engine_and_every_installed_peer_is_measured(comparison_result: Comparison) -> None:
    names = [server.name for server in comparison_result.servers]
    assert names == [*available(), *(peer.name for peer in PEERS)]
    assert [turn.server for turn in comparison_result.turns] == [
        server.name for server in comparison_result.measured
    ]
    for turn in comparison_result.turns:
        assert turn.load.rate > 0
        assert 0 < turn.load.p50 <= turn.load.p99


def test_ratios_are_to_epollo(comparison_result: Comparison) -> None:
    base = comparison_result.base
    assert base.name == available()[0]
    assert comparison_result.ratio(base, 2) == Median(1.0, 1.0, 1.0)


def test_a_peer_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("epollo.lab.peers.find_spec", lambda _: None)
    missing = {server.missing for server in compared_servers()}
    assert missing == {None, "uvloop", "twisted", "gevent"}


def test_a_ratio_is_taken_within_a_round() -> None:
    a, b = ComparedServer("a", "a"), ComparedServer("b", "b")
    turns = [
        Turn(server, 1, number, Load(rate, 0.1, 0.2, 0.5))
        for number, rates in enumerate([(10, 20), (100, 100), (2, 1)], 1)
        for server, rate in zip("ab", rates, strict=True)
    ]
    result = Comparison(1, [1], 1, 1.0, 3, True, [a, b], turns)
    assert result.ratio(b, 1) == Median(1.0, 0.5, 2.0)
    assert result.rate(a, 1) == Median(10, 2, 100)
    assert result.cost(a, 1) == 0.05
    assert result.limited_by_load(a, 1)


def test_messages_larger_than_a_server_takes_by_default() -> None:
    with running("epollo", command(ECHO, 2 << 20), None) as server:
        assert load(server, None, (1, 2, 2 << 20), 0.5).rate > 0


def test_an_interrupt_ends_the_server() -> None:
    found: list[Running] = []

    def interrupt(server: Running) -> None:
        found.append(server)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), running("echo", command(ECHO, 64), None) as server:
        interrupt(server)
    with pytest.raises(ConnectError):
        address.connect(address.parse(found[0].address), timeout=1)


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("pass", r"^peer: ended before it was ready$"),
        ("print('hello')", r"^peer: said 'hello'$"),
        ("raise SystemExit('no room')", r"^peer: ended before .* its last words: no room$"),
    ],
)
def test_a_server_that_does_not_start_is_one_line(code: str, text: str) -> None:
    with pytest.raises(EpolloError, match=text), running("peer", _python(code), None):
        pass


def test_a_server_that_says_nothing_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("epollo.child_process.START_SECONDS", 0.1)
    sleeps = _python("import time; time.sleep(60)")
    with pytest.raises(EpolloError, match="not ready within"), running("peer", sleeps, None):
        pass


def test_a_load_that_fails_or_never_ends_is_one_line() -> None:
    with pytest.raises(EpolloError, match=r"^the load failed; its last words: lost$"):
        output_of(_python("raise SystemExit('lost')"), None, DEADLINE)
    with pytest.raises(EpolloError, match="the load was not done after"):
        output_of(_python("import time; time.sleep(60)"), None, 0.1)


def test_a_server_that_answers_wrongly_fails_the_run() -> None:
    shout = [sys.executable, "-m", "epollo", "serve", "tests.lab.shouting:shout"]
    root = str(Path(__file__).parents[2])
    with (
        running("shout", ["env", f"PYTHONPATH={root}", *shout, "--bind", "127.0.0.1:0"], None) as s,
        pytest.raises(EpolloError, match=r"its last words: .*wrong"),
    ):
        load(s, None, (1, 1, 64), 0.05)


@pytest.mark.skipif(two_cores() is None, reason="takes two cores")
def test_a_process_is_kept_on_its_core() -> None:
    cores = two_cores()
    assert cores is not None
    asked = _python(
        "import os, time\n"
        "while len(os.sched_getaffinity(0)) > 1: time.sleep(0.01)\n"
        "print(os.sched_getaffinity(0))"
    )
    assert output_of(asked, cores[1], DEADLINE) == f"{{{cores[1]}}}\n"


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
def test_the_cpu_of_a_process_is_known() -> None:
    found = cpu_seconds(os.getpid())
    assert found is not None
    assert found > 0
    assert cpu_seconds(-1) is None


def test_too_few_descriptors_are_one_line_that_names_the_fix() -> None:
    with pytest.raises(UsageError, match=r"connections take .* ulimit -Hn$"):
        run_peers(connections=10_000_000)


def _python(code: str) -> Sequence[str]:
    return [sys.executable, "-c", code]
