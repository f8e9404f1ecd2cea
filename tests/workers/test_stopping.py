"""A stop of a supervisor is like one of a single process: delay, quiet, spread ends, and hurry."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.engines import Engine
from tests.support import DEADLINE, Peer, Talking, frame, serving, stop_process, until
from tests.workers.support import Supervised, answer, ended, supervised

HOOKS = """
import os, time

VERSION = {version}

class Hooks:
    def received(self, message):
        if message == b"die":
            os._exit(3)
        if message == b"stick":
            time.sleep(3600)
        return f"{{VERSION}} {{os.getpid()}}".encode()

    def stopping(self, server):
        open(f"stopping-{{os.getpid()}}", "w").close()

    def closing(self, connection):
        connection.send(b"goodbye")

handle = Hooks()
"""
LONG = ("--graceful-timeout", "1h", "--drain-quiet", "1h")  # nobody is ever quiet
QUIET = 0.2  # seconds
SHORT = ("--graceful-timeout", "20s", "--drain-quiet", f"{QUIET}s")
DELAYED = ("--drain-delay", "1h")

Send = Callable[[Supervised, signal.Signals], None]


def _to_supervisor(server: Supervised, number: signal.Signals) -> None:
    server.signal(number)


def _to_group(server: Supervised, number: signal.Signals) -> None:
    """As systemd and terminals do."""
    os.killpg(server.pid, number)


every_balance = pytest.mark.parametrize("balance", ["slot", "exact"])
every_way = pytest.mark.parametrize("send", [_to_supervisor, _to_group])


def _told(server: Supervised) -> set[int]:
    """The workers whose ``stopping`` was called."""
    return {int(file.name.split("-")[1]) for file in server.folder.glob("stopping-*")}


def _refused(server: Supervised) -> bool:
    try:
        server.connect().close()
    except ConnectionRefusedError:
        return True
    return False


@every_balance
@every_way
def test_all_workers_accept_during_the_delay_and_a_second_signal_ends_it(
    engine: Engine, tmp_path: Path, send: Send, balance: str
) -> None:
    """It does not abort: a client is served until it pauses."""
    path = tmp_path / "socket"
    quiet = ("--graceful-timeout", "20s", "--drain-quiet", "2s")
    flags = (*engine.flags, *quiet, *DELAYED, "--bind", "127.0.0.1:0", "--balance", balance)
    (tmp_path / "app.py").write_text(HOOKS.format(version=1))
    with supervised(tmp_path, *flags, own_session=True, bind=f"unix:{path}") as server:
        workers = server.workers
        with server.connect() as peer:
            talking = Talking(peer, 2.0, b"goodbye")
            first = talking.ask(b"?")
            assert int(first.split()[1]) in workers
            send(server, signal.SIGTERM)
            until(lambda: _told(server) == workers)
            assert {server.ask()[1] for _ in range(60)} == workers
            with Peer(f"unix:{path}") as other:
                assert answer(other)[1] in workers
            assert talking.ask(b"?") == first
            send(server, signal.SIGTERM)
            until(lambda: talking.ask(b"?") in (first, b"") and _refused(server))
            assert peer.receive_all() == (b"" if talking.ended else frame(b"goodbye"))
        server.ended()
        assert server.lines("another takes its place") == []
    assert not path.exists()


def test_the_delay_ends_by_itself(engine: Engine, tmp_path: Path) -> None:
    with supervised(tmp_path, *engine.flags, *SHORT, "--drain-delay", "0.5s") as server:
        start = time.monotonic()
        server.signal(signal.SIGTERM)
        until(lambda: _refused(server))
        assert time.monotonic() - start >= 0.5
        server.ended()


@every_balance
def test_a_worker_that_dies_during_the_delay_leaves_its_connections_to_the_others(
    tmp_path: Path, balance: str
) -> None:
    (tmp_path / "app.py").write_text(HOOKS.format(version=1))
    with supervised(tmp_path, *SHORT, *DELAYED, "--balance", balance) as server:
        workers = server.workers
        server.signal(signal.SIGTERM)
        until(lambda: _told(server) == workers)
        with server.connect() as peer:
            victim = answer(peer)[1]
            peer.send(frame(b"die"))
            peer.receive_until_gone()
        server.logged("ended with status 3")
        assert {server.ask()[1] for _ in range(30)} == workers - {victim}
        assert server.workers == workers - {victim}


@every_way
@pytest.mark.parametrize("delayed", [(), DELAYED])
def test_ctrl_c_waits_for_nobody(tmp_path: Path, send: Send, delayed: tuple[str, ...]) -> None:
    """No delay, and no quiet period; what has arrived is answered."""
    with supervised(tmp_path, *LONG, *delayed, own_session=True) as server:
        with server.connect() as peer:
            answer(peer)
            send(server, signal.SIGINT)
            assert peer.receive_all() == b""
        server.ended()


def test_ctrl_c_hurries_a_worker_that_drains_since_a_reload(tmp_path: Path) -> None:
    with supervised(tmp_path, *LONG) as server, server.connect() as peer:
        before = answer(peer)[1]
        server.signal(signal.SIGHUP)
        server.logged("reload done")
        assert answer(peer)[1] == before
        server.signal(signal.SIGINT)
        assert peer.receive_all() == b""
        server.ended()


def test_a_reload_ends_connections_in_a_pause_and_has_no_delay(
    engine: Engine, tmp_path: Path
) -> None:
    with supervised(tmp_path, *engine.flags, *SHORT, *DELAYED) as server:
        with server.connect() as peer:
            talking = Talking(peer, QUIET)
            before = talking.ask(b"?")
            server.signal(signal.SIGHUP)
            until(lambda: talking.ask(b"?") in (before, b"") and server.lines("reload done"))
            end = time.monotonic() + 0.6  # over the quiet period
            while time.monotonic() < end:
                assert talking.ask(b"?") == before or talking.ended
            assert peer.receive_all() == b""
        server.logged(" has drained", 2)
        server.signal(signal.SIGTERM)
        server.signal(signal.SIGINT)
        server.ended()


def test_a_second_signal_aborts_when_there_is_no_delay(tmp_path: Path) -> None:
    with supervised(tmp_path, *LONG) as server, server.connect() as peer:
        answer(peer)
        server.signal(signal.SIGTERM)
        until(lambda: _refused(server))
        server.signal(signal.SIGTERM)
        peer.receive_until_gone()
        server.ended()


def test_one_worker_that_is_told_to_stop_has_its_delay_too(tmp_path: Path) -> None:
    """It accepts on next to its successor, and is not killed before its time."""
    flags = ("--drain-delay", "3s", "--graceful-timeout", "0.1s", "--drain-quiet", "0")
    (tmp_path / "app.py").write_text(HOOKS.format(version=1))
    with supervised(tmp_path, *flags, workers=1) as server, server.connect() as peer:
        old = answer(peer)[1]
        start = time.monotonic()
        os.kill(old, signal.SIGTERM)
        server.logged(" serves", 2)
        reply = peer.ask(b"?")
        if reply != b"goodbye":  # on a busy machine, the delay is over before the next one serves
            assert int(reply.split()[1]) == old
            assert peer.receive_all() == frame(b"goodbye")
        assert time.monotonic() - start >= 3
        server.logged(f"worker {old} has drained")
        assert server.ask()[1] != old
        server.signal(signal.SIGINT)
        server.ended()


def test_a_stuck_worker_is_killed_after_the_delay_and_the_grace(tmp_path: Path) -> None:
    flags = ("--drain-delay", "0.7s", "--graceful-timeout", "0.3s", "--drain-quiet", "0")
    (tmp_path / "app.py").write_text(HOOKS.format(version=1))
    with supervised(tmp_path, *flags) as server, server.connect() as peer:
        peer.send(frame(b"stick"))
        start = time.monotonic()
        server.signal(signal.SIGTERM)
        waiting = threading.Timer(DEADLINE, server.server.process.kill)
        waiting.start()
        server.ended()
        waiting.cancel()
        assert time.monotonic() - start >= 1.0
        assert len(server.lines("was killed: it did not stop within the grace")) == 1


@contextmanager
def _signalled_behind(server: Supervised, workers: set[int]) -> Iterator[None]:
    """All have had SIGTERM; the workers have acted on it, and the supervisor cannot yet."""
    stop_process(server.pid)
    try:
        _to_group(server, signal.SIGTERM)
        until(lambda: _told(server) == workers)
        yield
    finally:
        server.signal(signal.SIGCONT)


@every_balance
def test_none_is_lost_if_the_workers_are_signalled_before_their_supervisor(
    engine: Engine, tmp_path: Path, balance: str
) -> None:
    """They accept what comes until the supervisor has closed its listeners, or passes no more."""
    flags = (*engine.flags, "--graceful-timeout", "1h", "--drain-quiet", "0")
    (tmp_path / "app.py").write_text(HOOKS.format(version=1))
    with (
        supervised(tmp_path, *flags, "--balance", balance, own_session=True) as server,
        ExitStack() as stack,
    ):
        workers = server.workers
        with _signalled_behind(server, workers):
            peers = [stack.enter_context(server.connect()) for _ in range(20)]
            for peer in peers:
                peer.send(frame(b"?"))
        for peer in peers:
            assert int(peer.message().split()[1]) in workers
        server.ended()


@every_balance
def test_workers_that_wait_for_their_supervisor_end_when_it_is_killed(
    engine: Engine, tmp_path: Path, balance: str
) -> None:
    flags = (*engine.flags, "--graceful-timeout", "1h", "--drain-quiet", "0")
    (tmp_path / "app.py").write_text(HOOKS.format(version=1))
    arguments = ("app:handle", "--workers", "2", *flags, "--balance", balance)
    with serving(*arguments, cwd=tmp_path, start_new_session=True) as process:
        server = Supervised(process, tmp_path)
        workers = server.workers
        with _signalled_behind(server, workers):
            assert not any(map(ended, workers))
            server.signal(signal.SIGKILL)
            server.server.wait()
            until(lambda: all(map(ended, workers)))


def test_a_worker_waits_for_a_stuck_supervisor_for_half_of_the_grace(tmp_path: Path) -> None:
    """Then it says goodbye, as it would not after the grace."""
    flags = ("--graceful-timeout", "4s", "--drain-quiet", "0")
    (tmp_path / "app.py").write_text(HOOKS.format(version=1))
    with supervised(tmp_path, *flags, own_session=True) as server, server.connect() as peer:
        answer(peer)
        start = time.monotonic()
        with _signalled_behind(server, server.workers):
            assert peer.receive_all() == frame(b"goodbye")
            assert time.monotonic() - start >= 2
        server.ended()
