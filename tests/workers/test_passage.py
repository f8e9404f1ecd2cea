"""Connections on their way to a worker: each is served by exactly one, whatever happens there."""

from __future__ import annotations

import errno
import os
import resource
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from epollo.engine import CloseReason, Connection, EventLoop, Limits, new_loop
from epollo.framing import parse
from epollo.server.attacher import Attacher
from epollo.server.counters import Counters
from epollo.server.limits import ConnectionLimiter
from epollo.workers import distributor, passage
from epollo.workers.distributor import LATE_SECONDS, Distributor
from epollo.workers.intake import Intake
from epollo.workers.passage import MOST_UNANSWERED, Passage
from tests.engines import Engine
from tests.logs import Log
from tests.support import many_descriptors, until


class Fake:
    """A worker's end, and what it has taken."""

    def __init__(self, passed: Passage) -> None:
        self.passed = passed
        self.taken = 0
        self.ended = 0

    def take(self, *, answering: bool = True) -> int:
        """Read one packet; how many connections were in it."""
        packet = passage.receive(self.passed.theirs)
        for fd in packet.descriptors:
            os.close(fd)
        if answering:
            self.taken += packet.size
            self.report(packet.number)
        return packet.size

    def report(self, number: int = 0) -> None:
        passage.answer(self.passed.theirs, number, self.taken - self.ended)

    def take_all(self) -> None:
        try:
            while True:
                self.take()
        except BlockingIOError:
            pass


class Scene:
    """A distributor with workers, and peers that connect."""

    def __init__(self, loop: EventLoop, stack: ExitStack, workers: int) -> None:
        self._loop = loop
        self._stack = stack
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self._listener.setblocking(False)
        stack.enter_context(self._listener)
        self.distributor = Distributor(loop)
        self.distributor.listen([self._listener])
        self.workers = [Fake(self._new()) for _ in range(workers)]
        self.use(*self.workers)
        stack.callback(self.distributor.close)

    def _new(self) -> Passage:
        passed = self.distributor.new_passage()
        assert passed is not None
        self.distributor.add(passed)
        return passed

    def use(self, *workers: Fake) -> None:
        self.distributor.use([each.passed for each in workers])

    def finish(self, most: int, done: Callable[[], object] = lambda: None) -> None:
        """Accept and pass the last ``most`` connections."""
        self.distributor.accept_last(most)
        self.distributor.pass_last([each.passed for each in self.workers], done)

    def connect(self, count: int = 1) -> list[socket.socket]:
        found = [socket.create_connection(self._listener.getsockname()) for _ in range(count)]
        for each in found:
            self._stack.enter_context(each)
            each.settimeout(0)
        return found

    @property
    def loads(self) -> list[int]:
        return [each.passed.load for each in self.workers]

    def until(self, condition: Callable[[], object], *answering: Fake) -> None:
        """Turn, with ``answering`` workers, until ``condition`` is true."""

        def turn() -> object:
            for each in answering:
                each.take_all()
            self._loop.poll(0.01)
            return condition()

        until(turn)


@pytest.fixture
def scene() -> Iterator[Callable[[int], Scene]]:
    loop = new_loop("python", "auto")
    with ExitStack() as stack:
        stack.callback(loop.close)
        yield lambda workers: Scene(loop, stack, workers)


def _ended(peer: socket.socket) -> bool:
    try:
        return peer.recv(1) == b""
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True


def test_each_goes_to_the_worker_with_the_fewest(scene: Callable[[int], Scene]) -> None:
    four = scene(4)
    four.connect(100)
    four.until(lambda: sum(each.taken for each in four.workers) == 100, *four.workers)
    assert four.loads == [25] * 4
    four.workers[2].ended = 20
    four.workers[2].report()
    four.until(lambda: four.loads[2] == 5, *four.workers)
    four.connect(20)
    four.until(lambda: sum(each.taken for each in four.workers) == 120, *four.workers)
    assert four.loads == [25] * 4


def test_what_a_worker_does_not_read_goes_to_another(scene: Callable[[int], Scene]) -> None:
    two = scene(2)
    stuck, other = two.workers
    two.connect(40)
    two.until(lambda: other.taken == 40, other)
    assert (stuck.passed.silent, stuck.passed.load) == (True, 0)
    two.connect(10)
    two.until(lambda: other.taken == 50, other)
    stuck.take_all()  # the probe
    two.until(lambda: not stuck.passed.silent)
    two.connect(10)
    two.until(lambda: stuck.taken == 10, *two.workers)


def test_what_a_worker_has_read_is_not_given_to_another(scene: Callable[[int], Scene]) -> None:
    """It may be about to answer; only its end shows that it was not."""
    two = scene(2)
    slow, other = two.workers
    two.connect(1)
    two.until(lambda: slow.passed.load == 1)
    assert slow.take(answering=False) == 1
    two.until(lambda: slow.passed.silent, other)
    assert (slow.passed.load, other.taken) == (1, 0)
    two.distributor.ended(slow.passed)
    two.until(lambda: other.taken == 1, other)


def test_what_a_worker_has_answered_ends_with_it(scene: Callable[[int], Scene]) -> None:
    """Its answer may still wait to be read."""
    two = scene(2)
    dead, other = two.workers
    [peer] = two.connect(1)
    two.until(lambda: dead.passed.load == 1)
    assert dead.take() == 1
    two.distributor.ended(dead.passed)
    until(lambda: _ended(peer))
    two.workers.remove(dead)
    two.connect(1)
    two.until(lambda: other.taken == 1, other)


def test_connections_that_no_worker_takes_stay_in_the_accept_queue(
    scene: Callable[[int], Scene],
) -> None:
    one = scene(1)
    [worker] = one.workers
    peers = one.connect(3 * MOST_UNANSWERED)
    one.until(lambda: worker.passed.load >= MOST_UNANSWERED)
    assert worker.passed.load == MOST_UNANSWERED
    one.until(lambda: worker.taken == len(peers), worker)
    one.use()  # none accepts
    one.connect(5)
    one.use(worker)
    one.until(lambda: worker.taken == len(peers) + 5, worker)


def test_a_worker_that_leaves_gives_back_what_it_has_not_read(
    scene: Callable[[int], Scene],
) -> None:
    two = scene(2)
    leaving, other = two.workers
    two.connect(10)
    two.until(lambda: sum(two.loads) == 10)
    assert leaving.take() > 0
    two.connect(10)
    two.until(lambda: sum(two.loads) == 20 and leaving.passed.load > leaving.taken)
    two.use(other)
    two.until(lambda: other.taken + leaving.taken == 20, other)
    assert leaving.passed.load == leaving.taken


def test_a_worker_tells_that_a_connection_has_ended(engine: Engine) -> None:
    loop, counters, passed = engine.loop(), Counters(), Passage()
    intake = Intake(loop, passed.theirs, Attacher(loop, Echo(), ConnectionLimiter(counters)))
    try:
        counters.accepted = 3
        counters.count_closed(CloseReason.EOF)
        until(lambda: loop.poll(0.01) is not None and passed.read_answers())
        assert passed.load == 2
    finally:
        intake.close()
        passed.end()
        loop.close()


@pytest.mark.parametrize("closing", [False, True])
def test_what_was_passed_before_the_supervisor_has_ended_is_served(
    engine: Engine, closing: bool
) -> None:
    """The kernel reports first that it has not read all answers; then comes what it has passed."""
    loop, counters, passed = engine.loop(), Counters(), Passage()
    intake = Intake(loop, passed.theirs, Attacher(loop, Echo(), ConnectionLimiter(counters)))
    ours, theirs = socket.socketpair()
    try:
        intake.report()  # nobody reads it
        passed.add(ours)
        assert passed.flush() == []
        passed._ours.close()
        ours.close()
        if closing:
            intake.close(1024)
        else:
            until(lambda: loop.poll(0.01) is not None and intake.listener.fileno() < 0)
        assert counters.open == 1
    finally:
        intake.close()
        passed.theirs.close()
        theirs.close()
        loop.close()


def test_all_that_waits_is_passed_at_the_end(scene: Callable[[int], Scene]) -> None:
    """Even to workers that do not answer: there are no others."""
    two = scene(2)
    peers = two.connect(7 * MOST_UNANSWERED)
    two.until(lambda: all(each.passed.silent for each in two.workers))
    two.finish(len(peers))
    for each in two.workers:
        each.take_all()
    assert sum(each.taken for each in two.workers) == len(peers)


def test_what_was_passed_at_the_end_is_not_taken_back(scene: Callable[[int], Scene]) -> None:
    """A worker that drains reads it once, and nothing later."""
    two = scene(2)
    late, other = two.workers
    two.connect(10)
    two.finish(10)
    other.take_all()
    two.until(lambda: late.passed.is_late(2 * LATE_SECONDS))
    late.take_all()
    assert late.taken == other.taken == 5


@pytest.mark.parametrize("number", [errno.ETOOMANYREFS, errno.EAGAIN])
def test_what_the_kernel_refuses_at_the_end_is_passed_when_it_takes_it(
    scene: Callable[[int], Scene], monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """The workers drain after that."""
    two = scene(2)
    two.connect(10)
    drained: list[int] = []
    with monkeypatch.context() as patch:
        patch.setattr(socket, "send_fds", _refusal(number))
        two.finish(10, lambda: drained.append(sum(two.loads)))
        assert not drained
    two.until(lambda: drained)
    assert drained == [10]
    for each in two.workers:
        each.take_all()
    assert sum(each.taken for each in two.workers) == 10


def test_what_the_kernel_refuses_for_long_at_the_end_is_closed(
    scene: Callable[[int], Scene], monkeypatch: pytest.MonkeyPatch, log: Log
) -> None:
    one = scene(1)
    [worker] = one.workers
    peers = one.connect(2)
    drained: list[bool] = []
    monkeypatch.setattr(distributor, "LAST_SECONDS", 0.1)
    monkeypatch.setattr(socket, "send_fds", _refusal(errno.ETOOMANYREFS))
    one.finish(2, lambda: drained.append(True))
    one.until(lambda: drained)
    one.distributor.ended(worker.passed)
    assert [each.recv(1) for each in peers] == [b"", b""]
    assert log.take() == ["2 connections were closed: no worker is left"]


def _refusal(number: int) -> Callable[..., object]:
    def refuse(*_: object) -> object:
        raise OSError(number, os.strerror(number))

    return refuse


def test_without_a_free_descriptor_it_accepts_later(
    scene: Callable[[int], Scene], log: Log
) -> None:
    one = scene(1)
    [worker] = one.workers
    one.connect(1)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (1, hard))
    try:
        for _ in range(20):
            one.until(lambda: True)
        assert one.loads == [0]
        assert log.take() == ["cannot accept: Too many open files; trying again in 1 s"]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    one.until(lambda: worker.taken == 1, worker)


def test_many_are_passed_at_once(scene: Callable[[int], Scene]) -> None:
    with many_descriptors(4096):
        three = scene(3)
        three.connect(900)
        three.until(lambda: sum(each.taken for each in three.workers) == 900, *three.workers)
    assert three.loads == [300] * 3


class Echo:
    """A protocol that is never asked."""

    framing = parse("u32")
    limits = Limits()

    def received(self, message: bytes, connection: Connection) -> bytes:
        return message

    def connected(self, connection: Connection) -> None: ...
    def closed(self, connection: Connection, reason: CloseReason) -> None: ...
