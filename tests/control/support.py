"""What the tests of the control socket share: figures, and a server that is only an object."""

from __future__ import annotations

import json
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any, Self

from epollo.control.commands import Commands
from epollo.control.inquirer import Answer, Values, named
from epollo.control.operations import Done, ProcessState, Refused
from epollo.control.totals import total
from tests.support import DEADLINE, epollo_here, serving, until

HISTOGRAM = {"bounds": [0.001, 0.01], "counts": [8, 2, 0], "sum": 0.02}
FIGURES: dict[str, Any] = {
    "connections": {
        "accepted": 5,
        "open": 2,
        "refused": {"max_connections": 0},
        "closed": {"eof": 2, "reset": 1},
    },
    "messages_in": 10,
    "messages_out": 20,
    "bytes_in": 1000,
    "bytes_out": 2000,
    "handler_seconds": HISTOGRAM,
    "turn_seconds": HISTOGRAM,
    "longest_turn": 0.02,
    "unsent": 7,
    "buffered": 8,
    "paused": {"high_water": 1},
    "pauses": {"high_water": 3},
    "in_flight": 0,
    "memory": 1 << 20,
    "descriptors": 12,
    "since": 1000.0,
    "slow_handlers": 0,
}


def figures(**changes: Any) -> dict[str, Any]:
    return {**deepcopy(FIGURES), **changes}


def connection(number: int, **changes: Any) -> dict[str, Any]:
    """A row of the answer to ``connections``."""
    return {
        "id": number,
        "peer": f"127.0.0.1:{50000 + number}",
        "seconds": 60.0,
        "idle": 0.5,
        "messages_in": 1,
        "messages_out": 2,
        "bytes_in": 10,
        "bytes_out": 20,
        "unsent": 0,
        "buffered": 0,
        "in_flight": 0,
        "state": "open",
        "paused": [],
        "groups": 1,
        "tls": False,
        **changes,
    }


class FakeServer:
    """Both sides of `Commands`: an inquirer with fixed answers, and operations that remember."""

    def __init__(self, *processes: tuple[int, int | None]) -> None:
        self.states = [ProcessState(pid, slot, "serves", 9.0) for pid, slot in processes]
        self.answers: dict[int, Values | None] = {}
        self.times: list[float] = []
        self.asked: list[tuple[str, int | None, dict[str, Any]]] = []
        self.did: list[Any] = []
        self.refusal = ""
        self.waiting: list[Done] = []

    def ask(
        self,
        question: str,
        done: Callable[[list[Answer]], object],
        *,
        process: int | None = None,
        **arguments: Any,
    ) -> None:
        self.asked.append((question, process, arguments))
        self.times.append(time.monotonic())
        done(
            [
                Answer(each.process, each.slot, each.stage, self._answer_of(each))
                for each in self.states
                if process in (None, each.process)
            ]
        )

    def _answer_of(self, state: ProcessState) -> Values | None:
        values = self.answers.get(state.process)
        return values and {
            name: [named(row, state.process, state.slot) for row in value]
            if isinstance(value, list)
            else value
            for name, value in values.items()
        }

    def overview(self) -> Values:
        return {"pid": 1, "ready_line": "", "stage": "serves", "uptime": 1.0, "workers": 2}

    def totals(self, answers: Sequence[Answer]) -> Values:
        return total(*(each.values for each in answers if each.values is not None))

    def processes(self) -> Sequence[ProcessState]:
        return self.states

    def stop(self) -> Values:
        self.did.append("stop")
        return {"stopping": True}

    def drain(self, slot: int, done: Done) -> None:
        self._do(("drain", slot), done)

    def reload(self, done: Done) -> None:
        self._do("reload", done)

    def _do(self, what: Any, done: Done) -> None:
        if self.refusal:
            raise Refused(self.refusal)
        self.did.append(what)
        self.waiting.append(done)

    def scale(self, by: int) -> Values:
        self.did.append(("scale", by))
        return {"workers": 2 + by, "before": 2}

    def log_level(self, level: str | None, logger: str) -> Values:
        self.did.append(("log_level", level, logger))
        return {"pid": 1, "level": level or "info"}


def run(server: FakeServer, command: str, **arguments: Any) -> Any:
    """The answer to a command, as it comes out of JSON."""
    answers: list[Values] = []
    line = json.dumps({"command": command, **arguments}).encode()
    Commands(server, server).run(line, answers.append)
    [answer] = answers
    return json.loads(json.dumps(answer))


class Client:
    """A client of the control socket that sends any bytes."""

    def __init__(self, path: Path | str) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(DEADLINE)
        self.socket.connect(str(path))
        self._lines = self.socket.makefile("rb")

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def line(self) -> Any:
        """The next answer; None at the end of the stream."""
        try:
            line = self._lines.readline()
        except ConnectionResetError:
            return None
        return json.loads(line) if line else None

    def ask(self, command: str, **arguments: Any) -> Any:
        self.send(json.dumps({"command": command, **arguments}).encode() + b"\n")
        return self.line()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._lines.close()
        self.socket.close()


QUESTIONS = {"status", "workers", "connections", "closed", "log-level"}  # they change nothing


class Controlled:
    """A server with a control socket, and `epollo ctl` for it."""

    def __init__(self, server: Any, path: Path) -> None:
        self.server = server
        self.path = path

    def ctl(self, *arguments: str) -> str:
        """What a command prints; fails if it does."""
        run = self._answered(*arguments)
        assert (run.stderr, run.returncode) == ("", 0), run.stdout
        return run.stdout

    def _answered(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """A question is asked again if a worker has not answered in time: on a busy machine it may
        be late."""
        runs: list[subprocess.CompletedProcess[str]] = []

        def is_answered() -> bool:
            runs.append(epollo_here("ctl", "--control", str(self.path), *arguments))
            late = runs[-1].stderr.endswith(" does not answer\n")
            return not late or arguments[0] not in QUESTIONS

        until(is_answered)
        return runs[-1]

    def refused(self, *arguments: str) -> str:
        """The line of an error of a command, without what all begin with."""
        run = epollo_here("ctl", "--control", str(self.path), *arguments)
        assert (run.stdout, run.returncode) == ("", 1)
        assert run.stderr.count("\n") == 1
        return run.stderr.removeprefix("epollo: error: ").strip()

    def ask(self, *arguments: str) -> Any:
        """The answer to a command in JSON."""
        return json.loads(self.ctl(*arguments, "--json"))

    def ask_busy(self, *arguments: str) -> Any:
        """The same, of a server whose workers are perhaps too busy to answer at once: None then."""
        run = epollo_here("ctl", "--control", str(self.path), *arguments, "--json")
        assert run.stdout, run.stderr
        answer = json.loads(run.stdout)
        return None if answer.get("unanswered") else answer


@contextmanager
def controlled(*arguments: str, folder: Path, **options: Any) -> Iterator[Controlled]:
    """``epollo serve`` with a control socket."""
    path = folder / "s"
    with serving(*arguments, "--control", str(path), cwd=folder, **options) as server:
        yield Controlled(server, path)
