"""Nothing is lost over reloads and stops, as ``epollo bench`` and clients that pause see it.

The short forms wait longer for silence than a busy machine makes a client pause. Those of ``make
truth`` have the defaults, and print their figures.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path

import pytest

from tests.engines import Engine
from tests.support import Peer, until
from tests.workers.support import Supervised, answer, ended, supervised, write
from tests.workers.witness import COUNTING, Figures, Stopped, bench, handled, stop_with

PATIENT = ("--graceful-timeout", "60s", "--drain-quiet", "20s")
DEFAULTS = ("--graceful-timeout", "30s")


def _reload(
    server: Supervised, times: int, broken: int | None = None, *, drained: bool = False
) -> None:
    """So many reloads, one after the other; the one with the number ``broken`` to code that does
    not import. With ``drained``, each waits until the workers before have drained."""
    done = 0
    for number in range(times):
        server.write("1 / 0" if number == broken else number, COUNTING)
        server.signal(signal.SIGHUP)
        if number == broken:
            server.logged("reload given up")
        else:
            done += 1
            server.logged("reload done", done)
        if drained:
            until(lambda: len(server.workers) == 2)


def _scale(server: Supervised) -> None:
    server.signal(signal.SIGTTIN)
    server.logged("one worker more: 3")
    until(lambda: server.lines(" serves")[-1].split()[-2] in map(str, server.workers))
    server.signal(signal.SIGTTOU)
    server.logged("one worker fewer: 2")


def _hand_over(server: Supervised) -> None:
    """Another supervisor takes the place, and the one before has ended with its workers."""
    before = server.hand_over()
    until(lambda: ended(before))


def _steady(
    engine: Engine,
    folder: Path,
    flags: tuple[str, ...],
    rate: int,
    reloads: int,
    *,
    drained: bool = False,
) -> Figures:
    """A witness at a rate, with a new connection every 50 messages."""
    write(folder, 0, COUNTING)
    with (
        supervised(folder, *engine.flags, *flags) as server,
        bench(server, "--rate", str(rate), "--reconnect-every", "50") as figures,
    ):
        _reload(server, reloads, broken=reloads // 2, drained=drained)
        _scale(server)
        until(lambda: len(server.workers) == 2)  # the others have drained
        _hand_over(server)
    assert figures.answered + figures.opening == handled(folder)
    return figures


def test_nothing_is_lost_over_reloads_scaling_and_a_handover(
    engine: Engine, tmp_path: Path
) -> None:
    figures = _steady(engine, tmp_path, PATIENT, rate=1000, reloads=5)
    assert figures.errors == {}
    assert figures.answered == figures.sent > 1000


@pytest.mark.truth
def test_nothing_is_lost_over_twenty_reloads(engine: Engine, tmp_path: Path) -> None:
    figures = _steady(engine, tmp_path, DEFAULTS, rate=4000, reloads=20, drained=True)
    print(f"\n20 reloads, one of them broken, one worker more and fewer, a handover: {figures}")
    assert figures.lost == {}
    assert figures.crossed == 0


@pytest.mark.parametrize(
    "flags", [("--graceful-timeout", "2s"), pytest.param(DEFAULTS, marks=pytest.mark.truth)]
)
def test_who_never_pauses_loses_what_it_sent_before_it_saw_the_end(
    engine: Engine, tmp_path: Path, flags: tuple[str, ...]
) -> None:
    """What a handler was given is answered. On a busy machine a connection may have more than one
    message without a reply, as it sends each when it is due, and sees the end late: none of them
    has reached a handler."""
    write(tmp_path, 0, COUNTING)
    with (
        supervised(tmp_path, *engine.flags, *flags) as server,
        bench(server, "--rate", "2000") as figures,
    ):
        _reload(server, 2)
        until(lambda: len(server.workers) == 2)
    print(f"\nclients that never pause, over 2 reloads: {figures}")
    assert figures.lost.keys() <= {"unanswered"}
    assert figures.crossed <= figures.connections - figures.opening
    assert figures.answered + figures.opening == handled(tmp_path)


# ---- SIGTERM


def _stop(
    engine: Engine, folder: Path, count: int, pace: float, pause: tuple[float, float], *flags: str
) -> Stopped:
    write(folder, 0, COUNTING)
    pacing = ("--goodbye-over", f"{pace}s")
    with supervised(folder, *engine.flags, *pacing, *flags) as server:
        stopped = asyncio.run(stop_with(server, count, pause))
        server.ended()
    assert stopped.errors == []  # no reset
    assert stopped.answered == handled(folder)
    assert stopped.crossed <= count  # of each connection the last one at most
    for index, end in enumerate(stopped.ends):  # no earlier than at its share of the time
        assert end >= pace * (index - 2) / count
    return stopped


def test_a_stop_is_paced_over_all_workers_and_complete(engine: Engine, tmp_path: Path) -> None:
    quiet = ("--drain-quiet", "0.2s", "--graceful-timeout", "20s")
    _stop(engine, tmp_path, 200, 2.0, (0.4, 0.8), *quiet)


@pytest.mark.truth
def test_a_stop_with_a_thousand_connections(engine: Engine, tmp_path: Path) -> None:
    stopped = _stop(engine, tmp_path, 1000, 10.0, (1.5, 3.0), *DEFAULTS)
    most = stopped.most_in(1.0)
    print(
        f"\n1000 connections end over {stopped.ends[-1]:.1f} s of --goodbye-over 10s, at most "
        f"{most} within a second; {stopped.sent} messages, {stopped.answered} answered, "
        f"{stopped.crossed} sent before the end was seen"
    )
    assert most < 300


# ---- SIGKILL


def _kill(server: Supervised, victim: int) -> float:
    """Kill it while there are 60 connections, and return after how many seconds another worker
    than those of before has answered. Only the connections of the victim have ended."""
    before = server.workers
    peers = [server.connect() for _ in range(60)]
    owners = [answer(peer)[1] for peer in peers]
    assert victim in owners
    start = time.monotonic()
    os.kill(victim, signal.SIGKILL)
    until(lambda: server.ask()[1] not in before)
    seconds = time.monotonic() - start
    for peer, owner in zip(peers, owners, strict=True):
        with peer:
            assert _is_lost(peer) if owner == victim else answer(peer)[1] == owner
    return seconds


def _is_lost(peer: Peer) -> bool:
    return peer.receive_until_gone() == b""


def test_a_killed_worker_loses_only_its_own_connections(engine: Engine, tmp_path: Path) -> None:
    with supervised(tmp_path, *engine.flags) as server:
        _kill(server, min(server.workers))


def test_a_worker_killed_during_a_reload_loses_only_its_own_connections(
    engine: Engine, tmp_path: Path
) -> None:
    """The reload waits for the first worker to boot; the other slot's worker is killed."""
    with supervised(tmp_path, *engine.flags) as server:
        first, second = sorted(server.workers)  # in the order of the slots
        (tmp_path / "app.py").write_text(
            "import os, time\n"
            "if not os.path.exists('first'):\n"
            "    open('first', 'w').close()\n"
            "    while os.path.exists('wait'): time.sleep(0.01)\n"
            "handle = lambda m: f'2 {os.getpid()}'.encode()\n"
        )
        (tmp_path / "wait").touch()
        server.signal(signal.SIGHUP)
        until((tmp_path / "first").exists)
        _kill(server, second)
        assert first in server.workers
        (tmp_path / "wait").unlink()
        server.logged("reload done")


@pytest.mark.truth
def test_another_worker_serves_within_a_second(engine: Engine, tmp_path: Path) -> None:
    with supervised(tmp_path, *engine.flags) as server:
        seconds = _kill(server, min(server.workers))
    print(f"\na worker was killed: another one answers after {seconds * 1e3:.0f} ms")
    assert seconds < 1
