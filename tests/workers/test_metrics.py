"""The metrics of a server with workers: sums that outlive every worker."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.engines import Engine
from tests.metrics.support import Mischief, Scraped, get, scraped_when
from tests.support import DEADLINE, Peer, ServerProcess, serving, stop_process, until
from tests.workers.support import Supervised, sockets_of, supervised

RECEIVED = "epollo_messages_received_total"
ECHO = "def handle(message):\n    return message\n"


def url_of(server: Supervised) -> str:
    return server.logged("metrics on ").split("metrics on ")[1].strip()


@contextmanager
def measured(folder: Path, *flags: str, **options: Any) -> Iterator[tuple[Supervised, str]]:
    """An echo server with workers, and where its metrics are."""
    (folder / "app.py").write_text(ECHO)
    with supervised(folder, "--metrics", "127.0.0.1:0", *flags, **options) as server:
        yield server, url_of(server)


@contextmanager
def loaded(server: Supervised) -> Iterator[dict[str, Any]]:
    """``epollo bench`` sends to it within the block; then its result is in the dictionary. All that
    it sends is in the result, but for one message on each connection that it opens first. Each
    connection pauses, so a worker that drains finds it silent."""
    result: dict[str, Any] = {}
    file = server.folder / "result.json"
    command = [sys.executable, "-m", "epollo", "bench", server.address, "-c", "8", "--no-floor"]
    load = ["--rate", "80", "--warmup", "0s", "-d", "10m", "-q", "--json", str(file)]
    with subprocess.Popen([*command, *load], stderr=subprocess.PIPE) as process:
        try:
            yield result
            process.send_signal(signal.SIGINT)  # send no more, and wait for the replies
            process.communicate(timeout=DEADLINE)
        finally:
            process.kill()
    result.update(json.loads(file.read_text()))


class Watch:
    """Scrapes again and again; ``fallen`` are the counts that have fallen."""

    def __init__(self, where: str) -> None:
        self.fallen: list[tuple[str, ...]] = []
        self.scrapes = 0
        self._where = where
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        before: dict[tuple[str, ...], float] = {}
        while not self._over.is_set():
            now = Scraped(self._where).counts
            self.fallen += [key for key, value in before.items() if now.get(key, 0) < value]
            before = now
            self.scrapes += 1

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()


def agree(where: str, result: dict[str, Any]) -> None:
    """The server has received and sent what the load tester has."""
    lost = result["errors"].get("unanswered", 0)
    assert result["sent"] == result["messages"] + lost
    assert "in_warmup" not in result["errors"]
    count = result["messages"] + result["workload"]["connections"]
    last = scraped_when(where, lambda now: not now.sum("epollo_connections_open"))
    assert last.sum("epollo_messages_received_total") == count
    assert last.sum("epollo_messages_sent_total") == count
    size = result["workload"]["size"] + 4
    assert last.sum("epollo_received_bytes_total") == count * size
    assert last.sum("epollo_sent_bytes_total") == count * size
    accepted = last.sum("epollo_connections_accepted_total")
    assert accepted == last.sum("epollo_connections_closed_total")
    assert accepted == result["connect"]["count"]
    assert last.sum("epollo_connections_closed_total", reason="worker_died") == 0


def renew(server: Supervised, times: int) -> None:
    """Two lives end with each reload."""
    for count in range(1, times + 1):
        server.signal(signal.SIGHUP)
        server.logged("reload done", count)


def drained(where: str) -> float:
    return Scraped(where).sum("epollo_workers_ended_total", cause="drained")


def test_the_metrics_agree_with_the_load_tester(engine: Engine, tmp_path: Path) -> None:
    """Over the lives of four workers, two of which end while they have load. Nobody asks
    them before they end."""
    with measured(tmp_path, *engine.flags, "--drain-quiet", "30ms") as (server, where):
        with loaded(server) as result:
            scraped_when(where, lambda now: now.sum(RECEIVED) > 20)
            server.signal(signal.SIGHUP)
            server.logged(" has drained", 2)
            scraped_when(where, lambda now: now.sum("epollo_connections_open") == 8)
        agree(where, result)
        assert Scraped(where).sum("epollo_reloads_total", result="done") == 1


@pytest.mark.truth
@pytest.mark.timeout(600)
def test_they_agree_over_twenty_lives(engine: Engine, tmp_path: Path) -> None:
    with measured(tmp_path, *engine.flags, "--drain-quiet", "30ms") as (server, where):
        with Watch(where) as watch, loaded(server) as result:
            for count in range(1, 11):
                received = Scraped(where).sum(RECEIVED)
                scraped_when(where, lambda now, base=received: now.sum(RECEIVED) > base + 20)  # type: ignore[misc]
                server.signal(signal.SIGHUP)
                server.logged("reload done", count)
            until(lambda: drained(where) == 20)
        agree(where, result)
        assert watch.fallen == []
        assert watch.scrapes > 20


def test_what_a_killed_worker_has_told_still_counts(engine: Engine, tmp_path: Path) -> None:
    """Its open connections are closed by its death."""
    with measured(tmp_path, *engine.flags, workers=1) as (server, where):
        [worker] = server.workers
        with server.connect() as peer:
            for _ in range(10):
                peer.ask(b"x")
            assert Scraped(where).sum(RECEIVED) == 10  # which asks the worker
            os.kill(worker, signal.SIGKILL)
            now = scraped_when(where, lambda now: now.sum("epollo_workers_ended_total") == 1)
            assert now.sum("epollo_workers_ended_total", cause="signal") == 1
            assert now.sum(RECEIVED) == 10
            assert now.sum("epollo_connections_open") == 0
            assert now.sum("epollo_connections_accepted_total") == 1
            assert now.sum("epollo_connections_closed_total", reason="worker_died") == 1
        until(lambda: get(where, "/readyz").status == 200)
        with server.connect() as peer:
            peer.ask(b"x")
            assert Scraped(where).sum(RECEIVED) == 11


def test_a_worker_tells_what_it_counts_each_second(tmp_path: Path) -> None:
    """So what nobody has asked for counts, too."""
    with measured(tmp_path, workers=1) as (server, where):
        [worker] = server.workers
        with server.connect() as peer:
            peer.ask(b"x")
            stop_process(worker)  # it answers no scrape from now on
            silent = scraped_when(where, lambda now: now.sum("epollo_workers_unanswered") == 1)
            before = silent.sum(RECEIVED)
            os.kill(worker, signal.SIGCONT)
            scraped_when(where, lambda now: now.sum(RECEIVED) == 1)
            assert before in (0, 1)


def test_a_handover_takes_the_metrics_along(engine: Engine, tmp_path: Path) -> None:
    """No scrape fails, no count falls, and what the workers before still do counts."""
    with measured(tmp_path, *engine.flags, "--drain-quiet", "30ms") as (server, where):
        with Watch(where) as watch, server.connect() as stays:
            for _ in range(10):
                stays.ask(b"x")
            server.hand_over()
            scrapes = watch.scrapes
            until(lambda: watch.scrapes > scrapes)
            with server.connect() as peer:
                peer.ask(b"x")
            server.logged("the supervisor before has ended")
            now = scraped_when(where, lambda now: now.sum(RECEIVED) == 11)
            assert now.sum("epollo_connections_accepted_total") == 2
            assert now.sum("epollo_connections_closed_total", reason="shutdown") == 1
        assert watch.fallen == []
        assert get(where, "/readyz").status == 200


def test_a_handover_on_a_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "metrics"
    (tmp_path / "app.py").write_text(ECHO)
    with supervised(tmp_path, "--metrics", f"unix:{path}") as server:
        where = f"unix:{path}"
        server.hand_over()
        server.logged("the supervisor before has ended")
        assert Scraped(where).sum(RECEIVED) == 0
    assert not path.exists()


def test_a_handover_that_fails_leaves_the_metrics(tmp_path: Path) -> None:
    path = tmp_path / "metrics"
    (tmp_path / "app.py").write_text(ECHO)
    with supervised(tmp_path, "--metrics", f"unix:{path}") as server:
        server.write("1 / 0")
        server.signal(signal.SIGUSR2)
        server.logged("no handover, this supervisor goes on")
        assert Scraped(f"unix:{path}").sum("epollo_workers", stage="serves") == 2
        assert get(f"unix:{path}", "/readyz").status == 200


def test_health_and_readiness(tmp_path: Path) -> None:
    """Ready until a stop is asked for; healthy as long as a worker answers."""
    with measured(tmp_path, "--drain-delay", "1h", workers=1) as (server, where):
        assert get(where, "/readyz") == (200, "ready\n")
        assert get(where, "/healthz") == (200, "ok\n")
        [worker] = server.workers
        stop_process(worker)
        until(lambda: get(where, "/healthz") == (503, "no worker answers\n"))
        assert get(where, "/readyz").status == 503
        os.kill(worker, signal.SIGCONT)
        until(lambda: get(where, "/healthz").status == get(where, "/readyz").status == 200)
        server.signal(signal.SIGTERM)
        until(lambda: get(where, "/readyz").status == 503)
        assert get(where, "/healthz").status == 200
        with server.connect() as peer:
            peer.ask(b"x")  # it still serves


def test_not_ready_before_the_workers_serve(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    (tmp_path / "app.py").write_text(f"open({str(gate)!r}).read()\n{ECHO}")
    path = tmp_path / "metrics"
    statuses: list[tuple[int, int]] = []

    def look() -> None:
        where = f"unix:{path}"
        with gate.open("w"):  # once the worker has opened it, which reads to its end
            statuses.append((get(where, "/readyz").status, get(where, "/healthz").status))
        until(lambda: get(where, "/readyz").status == 200)

    looking = threading.Thread(target=look)
    looking.start()
    with supervised(tmp_path, "--metrics", f"unix:{path}", workers=1):
        looking.join(DEADLINE)
    assert statuses == [(503, 200)]


def test_an_address_in_use_is_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        where = f"127.0.0.1:{taken.getsockname()[1]}"
        command = [sys.executable, "-m", "epollo", "serve", "--workers", "1", "--metrics", where]
        ended = subprocess.run(
            [*command, "--bind", "127.0.0.1:0"], capture_output=True, text=True, check=False
        )
    assert ended.returncode == 1
    [line] = ended.stderr.splitlines()
    assert f"metrics: cannot listen on {where}: " in line


def test_no_worker_has_the_socket_of_the_metrics(tmp_path: Path) -> None:
    """Else the address would stay in use as long as a worker that drains."""
    with measured(tmp_path) as (server, where):
        renew(server, 1)
        inode = _listening_inode(int(where.rpartition(":")[2].removesuffix("/metrics")))
        assert inode in sockets_of(server.pid)
        for worker in server.workers:
            assert inode not in sockets_of(worker)


def test_hostile_clients_keep_the_supervisor_from_nothing(tmp_path: Path) -> None:
    """It reloads, its workers serve, and it is scraped."""
    with measured(tmp_path) as (server, where), Mischief(where) as mischief:
        for count in (1, 2):
            until(lambda count=count: mischief.count > 100 * count)  # type: ignore[misc]
            server.signal(signal.SIGHUP)
            server.logged("reload done", count)
            with server.connect() as peer:
                assert peer.ask(b"x") == b"x"
            until(lambda count=count: reloads(where) == count)  # type: ignore[misc]


def reloads(where: str) -> float | None:
    """How many were done; None if another client took the scraper's place just now, while it was
    connecting: a scraper asks again, too."""
    with suppress(ConnectionError):
        return Scraped(where).sum("epollo_reloads_total", result="done")
    return None


TURNS = "epollo_loop_turn_seconds_bucket"


def _long_turns(server: ServerProcess, where: str, *, hostile: bool) -> float:
    """Of 2,000 messages in a row, the part of the loop's turns that took longer than 5 ms."""
    with ExitStack() as meanwhile:
        if hostile:
            mischief = meanwhile.enter_context(Mischief(where))
            until(lambda: mischief.count > 50)
        before = Scraped(where)
        with Peer(server.address) as peer:
            for _ in range(2000):
                peer.ask(b"x")
        after = Scraped(where)
    every, short = (after.sum(TURNS, le=le) - before.sum(TURNS, le=le) for le in ("+Inf", "0.005"))
    return (every - short) / every


@pytest.mark.truth
@pytest.mark.parametrize("workers", [[], ["--workers", "1"]], ids=["one process", "a worker"])
def test_hostile_clients_make_no_turn_long(
    engine: Engine, workers: list[str], tmp_path: Path
) -> None:
    """Nor do they if the loop that serves answers them itself."""
    flags = [*engine.flags, *workers, "--metrics", f"unix:{tmp_path}/metrics"]
    with serving(*flags) as server:
        where = f"unix:{tmp_path}/metrics"
        calm = _long_turns(server, where, hostile=False)
        stormy = _long_turns(server, where, hostile=True)
    print(f"turns over 5 ms: {calm:.2%} without hostile clients, {stormy:.2%} with them")
    assert stormy < max(0.02, 3 * calm)


def _listening_inode(port: int) -> str:
    rows = [row.split() for row in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    [inode] = [row[9] for row in rows if row[1].endswith(f":{port:04X}") and row[3] == "0A"]
    return f"socket:[{inode}]"
