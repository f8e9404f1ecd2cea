"""A run of the tester against a server with a known behaviour, with the record of both sides."""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import pytest

from epollo.bench import Result, Workload, run
from tests.bench.truth.behaviour import DEEDS, SECOND, Behaviour
from tests.bench.truth.cores import leaving_the_servers_core, waited
from tests.bench.truth.models import percentile
from tests.bench.truth.server import NEVER
from tests.support import DEADLINE, ServerProcess, python

TRIES = 3
IDLE_DELAY = 0.0005  # seconds that two processes and a kernel take on an idle machine
TIMER = 0.002  # seconds that a loop's timer may be late: pollers count in milliseconds
BEHIND = 2_000_000  # ns over which a reply was sent late by the server itself
SHARE_WAITED = 0.01  # of the time, over which the tester was kept from its core
PART_BEHIND = 0.001  # of replies, over which the server did not follow its behaviour


@dataclass(frozen=True, slots=True)
class Entry:
    """What the server knows of one message. Times are in ns of CLOCK_MONOTONIC, the tester's clock.

    Attributes:
        number, connection, intended: as the message says.
        arrived: when it was read.
        due: when its reply was to be sent.
        sent: when it was.
        deed: what was done to the reply; empty: it is right.
    """

    number: int
    connection: int
    intended: int
    arrived: int
    due: int
    sent: int
    deed: str

    @property
    def answered(self) -> bool:
        """Was any reply sent?"""
        return self.sent != NEVER

    @property
    def response(self) -> int:
        """From the time intended to the reply's departure: the tester can report no less."""
        return self.sent - self.intended


@dataclass(frozen=True, slots=True)
class Scene:
    """What the tester says, and what the server says; and how long the tester waited for a core,
    in seconds."""

    result: Result
    record: list[Entry]
    waited: float = 0.0

    @property
    def window(self) -> list[Entry]:
        """The messages that the tester counts, in the order of their intended times: the last ones,
        since those of the warm-up come before."""
        return self.record[len(self.record) - self.result.sent :]

    @property
    def deeds(self) -> Counter[str]:
        """How often each was done in the window."""
        return Counter(entry.deed for entry in self.window if entry.deed)

    @property
    def server_kept_its_plan(self) -> bool:
        """Did the server answer when it wanted to?"""
        behind = sum(e.sent - e.due > BEHIND for e in self.record if e.answered)
        return behind <= PART_BEHIND * len(self.record)

    @property
    def undisturbed(self) -> bool:
        """Did both sides get the processor when they wanted it?"""
        kept_waiting = self.waited > SHARE_WAITED * self.result.elapsed
        return self.server_kept_its_plan and self.result.on_time and not kept_waiting

    @property
    def grain(self) -> float:
        """How exact this run can be, in seconds: what two processes and a kernel need on a machine
        at rest, and what was in the way here, by the books of both."""
        behind = percentile([e.sent - e.due for e in self.record if e.answered], 0.999)
        return IDLE_DELAY + (max(0, behind) + self.result.slip.percentile(99.9)) / SECOND

    def response(self, part: float) -> float:
        """The response that the tester reports at a percentile, in seconds."""
        return self.result.response.percentile(100 * part) / SECOND

    def truth(self, part: float) -> float:
        """The response at a percentile by the server's record, in seconds."""
        return percentile([entry.response for entry in self.window], part) / SECOND

    @property
    def true_mean(self) -> float:
        """The mean response by the server's record, in seconds."""
        responses = [entry.response for entry in self.window]
        return sum(responses) / len(responses) / SECOND


class Witness:
    """The server's process."""

    def __init__(self, server: ServerProcess) -> None:
        self._server = server
        self.address = f"127.0.0.1:{int(server.ready_line)}"

    def wait_for_the_message(self) -> None:
        """Until the one that the behaviour announces has come."""
        assert self._server.line()

    def record(self) -> list[Entry]:
        """End the server; what it recorded, in the order of intended times."""
        out, _ = self._server.process.communicate(timeout=DEADLINE)
        *_, record = out.splitlines()
        assert self._server.process.returncode == 0
        entries = [_entry(values) for values in json.loads(record)]
        return sorted(entries, key=lambda entry: (entry.intended, entry.connection))


def _entry(values: list[int]) -> Entry:
    number, connection, intended, arrived, due, sent, deed = values
    done = DEEDS[deed - 1] if deed else ""
    return Entry(number, connection, intended, arrived, due, sent, done)


@contextmanager
def serving(behaviour: Behaviour) -> Iterator[Witness]:
    """The server, on a core of its own where there are two."""
    command = ["-m", "tests.bench.truth.server", json.dumps(asdict(behaviour))]
    with python(*command, stdin=subprocess.PIPE) as server:
        yield Witness(server)


def measure(behaviour: Behaviour, **load: Any) -> Scene:
    """One run, and what has to be true of any."""
    with serving(behaviour) as witness, leaving_the_servers_core():
        before = waited()
        result = run(Workload(address=witness.address, **load))
        scene = Scene(result, witness.record(), (waited() - before) / SECOND)
    check(scene)
    return scene


def measure_beside_others(behaviour: Behaviour, **load: Any) -> Scene:
    """The same on a machine that does other work: neither side comes first."""
    with serving(behaviour) as witness:
        scene = Scene(run(Workload(address=witness.address, **load)), witness.record())
    check(scene)
    return scene


def play(behaviour: Behaviour, **load: Any) -> Scene:
    """A run in which both sides had the processor when they wanted it, or the last of some."""
    for _ in range(TRIES):
        scene = measure(behaviour, **load)
        if scene.undisturbed:
            break
    return scene


WRONG = ("wrong_bytes", "wrong_order", "short")  # errors that are a message's own


def check(scene: Scene) -> None:
    """What has to be true of every run, whatever the server did."""
    result = scene.result
    wrong = sum(result.errors.get(name, 0) for name in WRONG)
    assert result.sent == result.messages + wrong + result.unanswered
    assert result.response.total == result.service.total == result.sent
    total = [h.mean * h.total for h in (result.response, result.service, result.slip)]
    assert total[0] == pytest.approx(total[1] + total[2], rel=1e-6)
    for name in ("response", "service", "slip"):
        parts = [getattr(second, name).total for second in result.seconds]
        assert sum(parts) == getattr(result, name).total
    assert result.slip.total == (result.sent if result.workload.open_loop else 0)
    assert sum(second.sent for second in result.seconds) <= result.sent  # or after the end
    if not result.errors:
        assert len(scene.record) >= result.sent
        assert_littles_law(result)
        assert_nothing_is_earlier_than_it_was(scene)


def assert_littles_law(result: Result) -> None:
    """N = X R: what a closed loop keeps outstanding is its rate times its cycle, but for what hangs
    over the two edges of the window."""
    load = result.workload
    if load.open_loop or load.duration is None:
        return
    outstanding = load.connections * load.depth
    cycle = result.response.mean / SECOND + load.think
    edge = 2 * (result.response.maximum / SECOND + load.think) / result.elapsed
    found = result.sent / result.elapsed * cycle / outstanding
    behind = TIMER / cycle if load.think else 0.0
    assert 1 - 0.03 - edge - behind <= found <= 1 + 0.03 + edge


def assert_nothing_is_earlier_than_it_was(scene: Scene) -> None:
    """At each percentile the tester reports at least what the server knows: the reply had not left
    before. Whatever delays either side on a busy machine, this holds."""
    for part in (0.01, 0.1, 0.5, 0.9, 0.95, 0.99, 0.999, 1.0):
        assert scene.response(part) >= scene.truth(part) * 0.999
    assert scene.result.response.mean / SECOND >= scene.true_mean * 0.999


def close_to(expected: float, scene: Scene) -> Any:
    """Equal to 5 %, or to what this run could be exact to. In seconds."""
    return pytest.approx(expected, rel=0.05, abs=scene.grain)
