"""Groups over workers: what one worker publishes reaches the members at all of them."""

from __future__ import annotations

import os
import resource
import signal
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.engines import Engine
from tests.support import Peer, frame, stop_process, until
from tests.workers.support import Supervised, supervised

CHAT = """
import os

class Chat:
    def started(self, server):
        self.server = server

    def connected(self, connection):
        connection.join("all")
        connection.send(b"%d" % os.getpid())

    {define} received(self, message, connection):
        {wait}
        others = message.startswith(b"others")
        self.server.publish("all", message, exclude=connection if others else None)

handle = Chat()
"""
PLAIN = CHAT.format(define="def", wait="pass")
ASYNC = "import asyncio\n" + CHAT.format(define="async def", wait="await asyncio.sleep(0)")


@contextmanager
def members(
    server: Supervised, count: int, workers: set[int] | None = None
) -> Iterator[dict[int, list[Peer]]]:
    """``count`` members at each of the ``workers`` (default: all), by the worker's process."""
    found: dict[int, list[Peer]] = defaultdict(list)
    wanted = server.workers if workers is None else workers
    with ExitStack() as stack:
        while any(len(found[worker]) < count for worker in wanted):
            peer = stack.enter_context(server.connect())
            worker = int(peer.message())
            if worker in wanted and len(found[worker]) < count:
                found[worker].append(peer)
            else:
                peer.close()
        yield dict(found)


def _publish(publishers: list[Peer], numbers: range) -> None:
    for number in numbers:
        for name, peer in enumerate(publishers):
            peer.send(frame(b"%d %d" % (name, number)))


def _received(peer: Peer, count: int) -> dict[int, list[int]]:
    """The next ``count`` messages: the numbers that each publisher has sent, as they came."""
    numbers = defaultdict(list)
    for _ in range(count):
        name, number = map(int, peer.message().split())
        numbers[name].append(number)
    return dict(numbers)


@pytest.mark.parametrize(
    ("code", "flags"),
    [(PLAIN, []), (ASYNC, []), (PLAIN, ["--threads", "2"])],
    ids=["plain", "async", "threads"],
)
def test_each_member_gets_each_message_once_and_in_order(
    engine: Engine, tmp_path: Path, code: str, flags: list[str]
) -> None:
    (tmp_path / "app.py").write_text(code)
    with (
        supervised(tmp_path, *engine.flags, *flags, workers=3) as server,
        members(server, 2) as at,
    ):
        publishers = [peers[0] for peers in at.values()]
        _publish(publishers, range(300))
        expected = {name: list(range(300)) for name in range(3)}
        for peers in at.values():
            for peer in peers:
                assert _received(peer, 900) == expected
        publishers[0].send(frame(b"others"))
        for peer in [each for peers in at.values() for each in peers if each is not publishers[0]]:
            assert peer.message() == b"others"
        publishers[1].send(frame(b"and then"))
        assert publishers[0].message() == b"and then"  # and not its own one


def test_messages_of_every_size_arrive(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(PLAIN)
    with supervised(tmp_path, "--max-frame", "10MiB") as server, members(server, 1) as at:
        [one], [other] = at.values()
        for size in (0, 1, 1 << 17, (1 << 18) + 1, 5 << 20):
            message = os.urandom(size)
            one.send(frame(message))
            assert other.message() == one.message() == message


def test_a_worker_that_is_killed_takes_no_message_of_the_others_along(
    engine: Engine, tmp_path: Path
) -> None:
    """It publishes itself at that moment. Of its own messages the first ones arrive, in order."""
    (tmp_path / "app.py").write_text(PLAIN)
    with supervised(tmp_path, *engine.flags, workers=3) as server, members(server, 1) as at:
        victim, *others = at
        [lost] = at[victim]
        kept = [at[worker][0] for worker in others]
        for number in range(500):
            if number < 250:
                lost.send(frame(b"2 %d" % number))
            if number == 250:
                os.kill(victim, signal.SIGKILL)
            _publish(kept, range(number, number + 1))
        for peer in kept:
            got: dict[int, list[int]] = defaultdict(list)
            while len(got[0]) < 500 or len(got[1]) < 500:
                name, number = map(int, peer.message().split())
                got[name].append(number)
            assert got[0] == got[1] == list(range(500))
            assert got[2] == list(range(len(got[2])))
        until(lambda: len(server.workers) == 3)
        server.logged(" serves", 4)
        with members(server, 1, server.workers - set(others)) as new:
            [[peer]] = new.values()
            kept[0].send(frame(b"welcome"))
            assert peer.message() == b"welcome"


def test_old_and_new_workers_are_one_room_during_a_reload(engine: Engine, tmp_path: Path) -> None:
    """A message every few milliseconds: nobody misses one between its first and its last."""
    (tmp_path / "app.py").write_text(PLAIN)
    over = threading.Event()
    sent = 0

    def publish(peer: Peer) -> None:
        nonlocal sent
        while not over.wait(0.003):
            peer.send(frame(b"%d" % sent))
            sent += 1

    flags = ["--graceful-timeout", "30s"]
    with supervised(tmp_path, *engine.flags, *flags) as server, members(server, 1) as at:
        old = [peers[0] for peers in at.values()]
        thread = threading.Thread(target=publish, args=(old[0],))
        thread.start()
        try:
            server.signal(signal.SIGHUP)
            server.logged("reload done")
            assert len(server.workers) == 4
            with members(server, 1, server.workers - set(at)) as new:
                last = sent + 50
                until(lambda: sent > last)
                over.set()
                thread.join()
                peers = old + [each[0] for each in new.values()]
                for peer in peers:
                    numbers = [int(peer.message())]
                    while numbers[-1] < sent - 1:
                        numbers.append(int(peer.message()))
                    assert numbers == list(range(numbers[0], sent))
                peers[-1].send(frame(b"from a new worker"))
                assert {peer.message() for peer in peers} == {b"from a new worker"}
                for peer in old:
                    peer.close()
        finally:
            over.set()
            thread.join()


def test_a_stuck_worker_delays_nobody_and_what_it_misses_is_counted(
    engine: Engine, tmp_path: Path
) -> None:
    (tmp_path / "app.py").write_text(PLAIN)
    flags = ["--max-unsent", "64KiB", "--worker-timeout", "0", "--graceful-timeout", "1s"]
    with (
        supervised(tmp_path, *engine.flags, *flags, workers=3) as server,
        members(server, 1) as at,
    ):
        stuck, *others = at
        one, other = (at[worker][0] for worker in others)
        stop_process(stuck)
        try:
            for number in range(1500):
                message = b"%d " % number + bytes(1000)
                assert one.ask(message) == other.message() == message
            line = server.logged(f"messages to groups were dropped for worker {stuck}")
            assert "over max_unsent, 64 KiB, would wait" in line
            assert len(server.lines("were dropped for worker")) < 30  # at most one a second
        finally:
            os.kill(stuck, signal.SIGCONT)
        [late] = at[stuck]
        numbers = [int(late.message().split()[0])]
        while numbers[-1] != -1:
            if len(numbers) == 1:
                one.send(frame(b"-1 now it gets all"))
            numbers.append(int(late.message().split()[0]))
        assert numbers[:-1] == list(range(len(numbers) - 1))  # until the limit, without a gap
        assert 64 < len(numbers) < 1500


def test_a_worker_without_descriptors_says_that_it_has_no_link(
    engine: Engine, tmp_path: Path
) -> None:
    (tmp_path / "app.py").write_text(PLAIN)
    with supervised(tmp_path, *engine.flags) as server:
        full, victim = server.workers
        limits = resource.prlimit(full, resource.RLIMIT_NOFILE)
        resource.prlimit(full, resource.RLIMIT_NOFILE, (0, limits[1]))
        os.kill(victim, signal.SIGKILL)
        server.logged(" serves", 3)
        [new] = server.workers - {full}
        line = server.logged("no link with worker ")
        assert f"[{full}] ERROR no link with worker {new}: no descriptors left" in line
        resource.prlimit(full, resource.RLIMIT_NOFILE, limits)
