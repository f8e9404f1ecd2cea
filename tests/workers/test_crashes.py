"""A worker that dies, or is stuck, loses its own connections and nothing else."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from tests.engines import Engine
from tests.support import Peer, Talking, frame, happens, stop_process, until
from tests.workers.support import Supervised, answer, supervised

DANGEROUS = """
import os, time

def handle(message):
    if message == b"die":
        os._exit(3)
    if message == b"stick":
        time.sleep(3600)
    return f"1 {os.getpid()}".encode()
"""

WAITING = """
import os, time

while not os.path.exists("go on"):
    time.sleep(0.01)

def handle(message):
    return message
"""


def _peer_of(server: Supervised, worker: int) -> Peer:
    """A connection that ``worker`` serves."""
    while True:
        peer = server.connect()
        if answer(peer)[1] == worker:
            return peer
        peer.close()


def test_connections_in_the_queue_of_a_killed_worker_are_served(
    engine: Engine, tmp_path: Path
) -> None:
    """It is stopped first, so that some of the hundred surely wait in its queue."""
    with supervised(tmp_path, *engine.flags, workers=4) as server:
        victim = min(server.workers)
        stop_process(victim)
        peers = [server.connect() for _ in range(100)]
        for peer in peers:
            peer.send(frame(b"?"))
        os.kill(victim, signal.SIGKILL)
        answers = [peer.message().split()[1] for peer in peers]
        assert len(answers) == 100
        assert str(victim).encode() not in answers
        assert len(set(answers)) == 4  # the queue of the victim has its next worker
        for peer in peers:
            peer.close()


def test_only_its_own_connections_end(tmp_path: Path) -> None:
    with supervised(tmp_path) as server:
        victim, other = sorted(server.workers)
        with _peer_of(server, victim) as lost, _peer_of(server, other) as kept:
            os.kill(victim, signal.SIGKILL)
            assert lost.receive_until_gone() == b""
            assert answer(kept)[1] == other
            server.logged(f"worker {victim} was killed by SIGKILL; another takes its place")
            server.logged(" serves", 3)
            assert server.ask()[1] != victim


def test_new_connections_do_not_wait_for_a_worker_that_dies_young(tmp_path: Path) -> None:
    """While none serves its slot, they are steered to the others. The last one that is started is
    there after a pause, and does not come to serve."""
    (tmp_path / "app.py").write_text(DANGEROUS)
    with supervised(tmp_path) as server:
        survivor = min(server.workers)
        for died in range(1, 4):
            [other] = server.workers - {survivor}
            os.kill(other, signal.SIGKILL)
            server.logged("was killed by SIGKILL; another takes its place", died)
            if died < 3:
                server.logged(" serves", 2 + died)
                (tmp_path / "app.py").write_text(WAITING if died == 2 else DANGEROUS)
        server.logged("workers die young: the next one is started in 1 s")
        assert {server.ask()[1] for _ in range(50)} == {survivor}
        (tmp_path / "go on").touch()


def test_the_pause_doubles_in_a_crash_loop(tmp_path: Path) -> None:
    with supervised(tmp_path) as server:
        server.write("__import__('os')._exit(3)")
        survivor = min(server.workers)
        [other] = server.workers - {survivor}
        os.kill(other, signal.SIGKILL)
        for pause in ("0.5", "1", "2"):
            server.logged(f"the next one is started in {pause} s")
        server.write(2)
        until(lambda: {server.ask()[0] for _ in range(20)} == {"1", "2"})
        assert survivor in server.workers


@pytest.mark.parametrize("pause", [False, True], ids=["handler", "stopped"])
def test_a_worker_whose_loop_is_blocked_is_replaced(tmp_path: Path, pause: bool) -> None:
    (tmp_path / "app.py").write_text(DANGEROUS)
    with supervised(tmp_path, "--worker-timeout", "2s") as server:
        victim = min(server.workers)
        with _peer_of(server, victim) as stuck:
            if pause:
                stop_process(victim)
            else:
                stuck.send(frame(b"stick"))
            line = server.logged("was blocked for worker_timeout, 2 s; another takes its place")
            assert f"worker {victim} " in line
            assert stuck.receive_until_gone() == b""
        server.logged(" serves", 3)
        assert pause or server.lines("in handle")  # where it was


def test_without_a_worker_timeout_a_blocked_worker_stays(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(DANGEROUS)
    with supervised(tmp_path, "--worker-timeout", "0", "--graceful-timeout", "0") as server:
        victim = min(server.workers)
        with _peer_of(server, victim) as stuck:
            stuck.send(frame(b"stick"))
            # New connections are steered past it, once it has not answered for some beats.
            until(lambda: victim not in {_asked(server) for _ in range(5)})
            assert victim in server.workers


def _asked(server: Supervised) -> int | None:
    """The worker that answers a new connection; None if none does shortly."""
    with server.connect() as peer:
        peer.socket.settimeout(0.5)
        try:
            return answer(peer)[1]
        except TimeoutError:
            return None


def test_a_supervisor_that_was_stopped_kills_nobody(tmp_path: Path) -> None:
    with supervised(tmp_path, "--worker-timeout", "3s", own_session=True) as server:
        before = server.workers
        os.killpg(server.pid, signal.SIGSTOP)
        stopped = time.monotonic()
        until(lambda: time.monotonic() > stopped + 3.5)  # longer than the timeout
        os.killpg(server.pid, signal.SIGCONT)
        assert server.ask()[1] in before
        assert not happens(lambda: server.workers != before)


def test_a_worker_that_is_told_to_stop_drains_and_is_replaced(tmp_path: Path) -> None:
    with supervised(tmp_path) as server:
        victim = min(server.workers)
        os.kill(victim, signal.SIGTERM)
        server.logged(f"worker {victim} was told to stop; another takes its place")
        server.logged(f"worker {victim} has drained")
        server.logged(" serves", 3)
        assert victim not in {server.ask()[1] for _ in range(20)}


@pytest.mark.parametrize(
    ("flags", "why"),
    [
        (["--max-worker-messages", "30"], "has received "),
        (["--max-worker-age", "2s"], "old; another takes its place"),
    ],
)
def test_workers_are_recycled(engine: Engine, tmp_path: Path, flags: list[str], why: str) -> None:
    with supervised(tmp_path, *engine.flags, *flags, workers=1) as server:
        with server.connect() as peer:
            talking = Talking(peer, 1.0)
            reply = talking.ask(b"?")
            for _ in range(40):
                assert talking.ask(b"?") == reply or talking.ended
            before = int(reply.split()[1])
        server.logged(why)
        until(lambda: server.ask()[1] != before)
        server.logged(f"worker {before} has drained")


def test_a_worker_that_has_grown_is_recycled(tmp_path: Path) -> None:
    with supervised(tmp_path, "--max-worker-memory", "1MiB", workers=1) as server:
        server.logged("of memory; another takes its place", 3)  # after pauses that grow
        assert server.ask()[1] in server.workers


def test_a_recycled_worker_serves_on_if_the_next_does_not_boot(tmp_path: Path) -> None:
    with supervised(tmp_path, "--max-worker-memory", "1MiB", workers=1) as server:
        server.write("1 / 0")
        server.logged("the worker before goes on: handler module 'app' cannot be imported")
        [worker] = {server.ask()[1] for _ in range(5)}
        assert worker in server.workers
