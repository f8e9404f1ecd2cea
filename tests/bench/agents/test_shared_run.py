"""Several processes are one load test: it adds up, begins at once, and leaves nobody behind."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from epollo import ConnectError, Connection, EpolloError, HandlerError, Server, SettingError
from epollo.bench import Result, Second, Workload, run
from epollo.bench.agents.local_processes import LocalProcesses
from epollo.bench.agents.shared_run import SharedRun
from epollo.bench.output.text import render
from epollo.bench.results.verdict import Verdict
from epollo.engine import available
from tests.bench.terminal import terminal
from tests.support import DEADLINE, epollo, serving, until

NUMBERED = "{connection}:{number}"


@pytest.fixture(params=available())
def tester(request: pytest.FixtureRequest) -> str:
    """The engine of the load tester."""
    return str(request.param)


class Known:
    """Echoes, and remembers all that it was sent."""

    def __init__(self) -> None:
        self.messages: Counter[bytes] = Counter()

    def received(self, message: bytes, connection: Connection) -> bytes | None:
        self.messages[message] += 1
        return message


def workload(server: Server, **changes: Any) -> Workload:
    settings: dict[str, Any] = {"connections": 5, "messages": 101, "duration": None, "warmup": 0}
    settings |= {"processes": 2, "template": NUMBERED, "timeout": DEADLINE}
    return Workload(address=server.addresses[0], **settings | changes)


# -- it adds up


@pytest.mark.parametrize(
    "load", [{}, {"rate": 1000}, {"reconnect_every": 3}], ids=["closed", "open", "churn"]
)
def test_connections_and_messages_are_divided_and_add_up(load: dict[str, Any], tester: str) -> None:
    handler = Known()
    with Server(handler, "127.0.0.1:0") as server:
        result = run(workload(server, engine=tester, **load))
    assert result.errors == {}
    assert result.messages == result.sent == result.response.total == 101
    assert (
        handler.messages.total() >= 101
    )  # the first ones of an open loop come before its schedule
    assert set(handler.messages.values()) == {1}, "no two messages are alike"
    assert len(result.answered) == 5
    assert result.workload.processes == 2
    numbers = {int(message.partition(b":")[0]) for message in handler.messages}
    if "reconnect_every" not in load:
        assert numbers == set(range(5))
        assert result.connect.total == 5


def test_the_rates_add_up_second_by_second(tester: str) -> None:
    """To the very plan of one process: each message of it is sent, once, and none too early."""
    reported: list[Second] = []
    with Server(Known(), "127.0.0.1:0") as server:
        load = {"messages": None, "duration": 1.5, "rate": 400, "connections": 3}
        result = SharedRun(
            workload(server, engine=tester, **load), LocalProcesses(), reported.append
        ).run()
    assert result.sent == result.slip.total == 600
    assert result.target == pytest.approx(400)
    assert [second.target for second in reported] == pytest.approx([400, 400])
    assert sum(second.sent for second in reported) == 600
    first, second = [second.sent for second in result.seconds]
    assert first <= 400
    assert first + second == 600
    assert result.answered == [200, 200, 200]


# -- it begins at once


class Late(Known):
    """Is long in answering the first message of one connection."""

    def received(self, message: bytes, connection: Connection) -> bytes | None:
        if message == b"0:0":
            self.timer = threading.Timer(0.5, self.answer, [message, connection])
            self.timer.start()
            return None
        return super().received(message, connection)

    def answer(self, message: bytes, connection: Connection) -> None:
        self.answered = time.time()
        connection.send(message)


@pytest.mark.parametrize("load", [{"warmup": 0.1}, {"rate": 1000}], ids=["closed", "open"])
def test_no_window_begins_before_all_connections_are_there(
    load: dict[str, Any], tester: str
) -> None:
    handler = Late()
    with Server(handler, "127.0.0.1:0") as server:
        together = SharedRun(workload(server, engine=tester, **load), LocalProcesses())
        assert together.run().errors == {}
        handler.timer.join()
    starts = [s.outcome.result.started for s in together.shares if s.outcome is not None]
    assert len(starts) == 2
    assert min(starts) >= handler.answered


# -- what goes wrong


def test_what_cannot_be_shared_is_said() -> None:
    loads: list[dict[str, Any]] = [{"connections": 3}, {"messages": 3}]
    for load in loads:
        with pytest.raises(SettingError, match=r"^processes: each needs .*; use at most 3$"):
            Workload(address="127.0.0.1:1", processes=4, **load)


def test_a_setting_that_none_can_use_is_one_error() -> None:
    with Server(Known(), "127.0.0.1:0") as server, pytest.raises(HandlerError, match="no_such"):
        run(workload(server, expect="no_such:thing"))


def test_where_nobody_listens_no_connection_is_made() -> None:
    with Server(Known(), "127.0.0.1:0") as server:
        load = workload(server)
    with pytest.raises(ConnectError, match="refused"):
        run(load)


class Deadly(Known):
    """Kills one of those who ask it."""

    agents: LocalProcesses

    def received(self, message: bytes, connection: Connection) -> bytes | None:
        self.agents.processes[1].process.kill()
        return super().received(message, connection)


def test_one_that_dies_ends_the_run(tester: str) -> None:
    handler = Deadly()
    with Server(handler, "127.0.0.1:0") as server:
        load: dict[str, Any] = {"messages": None, "duration": 60, "engine": tester}
        handler.agents = LocalProcesses()
        together = SharedRun(workload(server, **load), handler.agents)
        with pytest.raises(EpolloError, match=r"^process 2 of 2 .* killed by SIGKILL; .*$"):
            together.run()
    assert [each.process.poll() is None for each in handler.agents.processes] == [False] * 2


class Outlived(LocalProcesses):
    """Processes of which the others go on if one dies, as the workers of a cluster do."""

    outlived: bool = True


class Fatal(Known):
    """Kills one of those who ask it, once a second has been told and before all is answered."""

    def __init__(self, agents: LocalProcesses) -> None:
        super().__init__()
        self.seen: list[Second] = []
        self._agents = agents

    def received(self, message: bytes, connection: Connection) -> bytes | None:
        if self.messages.total() == 200:  # of 300
            until(lambda: self.seen)
            self._agents.processes[1].process.kill()
        return super().received(message, connection)


def test_a_share_that_is_lost_is_missing_and_the_plan_is_what_it_was(tester: str) -> None:
    handler = Fatal(agents := Outlived())
    seen = handler.seen
    with Server(handler, "127.0.0.1:0") as server:
        load: dict[str, Any] = {"messages": None, "duration": 3, "rate": 100, "connections": 4}
        result = SharedRun(workload(server, engine=tester, **load), agents, seen.append).run()
    kept, lost = result.agents
    assert (kept.missing, kept.connections, kept.messages) == ("", 2, 150)
    assert (lost.name, lost.messages) == ("process 2 of 2", 0)
    assert lost.missing.startswith("was killed by SIGKILL")
    assert [seen[0].target, result.target] == pytest.approx([100, 100])
    assert result.sent == result.messages == result.response.total == 150
    assert sum(second.sent for second in result.seconds) == 150, "also in the first one"
    assert result.answered == [75, 75]
    assert result.failed
    verdict = Verdict.of(result)
    assert verdict.failed
    assert str(verdict).startswith(
        "FAILED: share 2 of 2 is missing (2 of 4 connections, 50 of 100 msg/s): process 2 of 2 "
        "was killed by SIGKILL; "
    )
    assert re.search(
        r"\nagents {7}process 1 of 2  2 connections, \d+ of 50 msg/s, p50 ", render(verdict)
    )
    assert "\n             process 2 of 2  MISSING: it was killed by SIGKILL; " in render(verdict)
    again = Result.from_json(result.to_json())
    assert [agent.to_document() for agent in again.agents] == [
        agent.to_document() for agent in result.agents
    ]
    assert Verdict.of(again).failed


def test_each_process_is_next_to_the_sum(tester: str) -> None:
    with Server(Known(), "127.0.0.1:0") as server:
        result = run(workload(server, engine=tester))
    first, second = result.agents
    assert (first.connections, second.connections) == (3, 2)
    assert first.messages + second.messages == result.messages
    assert first.response.merged(second.response).exact == result.response.exact
    assert [agent.round_trip for agent in result.agents] == [None, None], "they share a clock"


# -- who leaves


def children(of: int) -> list[int]:
    return [int(pid) for pid in Path(f"/proc/{of}/task/{of}/children").read_text().split()]


def runs(pid: int) -> bool:
    """Is there such a process, and is it more than a memory (a zombie)?"""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


@contextmanager
def loading() -> Iterator[Any]:
    with (
        serving() as server,
        terminal("bench", server.address, "-c", "4", "-d", "60s", "--processes", "2") as bench,
    ):
        bench.wait_for(" msg/s   p50 ")
        bench.loaders = children(bench.process.pid)  # type: ignore[attr-defined]
        assert len(bench.loaders) == 2  # type: ignore[attr-defined]
        yield bench


def test_ctrl_c_ends_all_with_a_report() -> None:
    with loading() as bench:
        bench.process.send_signal(signal.SIGINT)
        assert bench.status() == 0
        report = bench.report()
        assert not any(map(runs, bench.loaders))
    assert ", 2 processes\n" in report
    assert report.endswith("; no errors; ended early, as asked\n")


def test_none_outlives_the_one_that_started_it() -> None:
    with loading() as bench:
        bench.process.kill()
        until(lambda: not any(map(runs, bench.loaders)))


# -- as it is used


def test_two_processes_load_the_server_beside() -> None:
    done = epollo("bench", "-c", "4", "-n", "1001", "--warmup", "0", "--processes", "2")
    assert (done.returncode, done.stderr) == (0, "")
    assert "\nmessages     1,001 answered of 1,001 sent, " in done.stdout


def test_a_script_needs_no_guard_and_its_modules_are_found(tmp_path: Path) -> None:
    """None of `if __name__ == "__main__"`, which multiprocessing asks for."""
    (tmp_path / "check.py").write_text("def same(message, reply):\n    return message == reply\n")
    script = tmp_path / "script.py"
    script.write_text(
        "import epollo\n"
        "from epollo import bench\n"
        "with epollo.Server(lambda message: message, '127.0.0.1:0') as server:\n"
        "    load = bench.Workload(address=server.addresses[0], connections=2, messages=10,\n"
        "        duration=None, warmup=0, processes=2, expect='check:same')\n"
        "    print(bench.run(load).messages)\n"
    )
    done = subprocess.run(
        [sys.executable, str(script)],
        capture_output=True,
        text=True,
        check=False,
        timeout=6 * DEADLINE,
        env=os.environ,
        cwd="/",
    )
    assert (done.stdout, done.stderr) == ("10\n", "")
