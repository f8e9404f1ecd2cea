"""Servers that fail, or are none: each gives a report that says what they did, in time, exit status
1, and a terminal that is as it was found.

No run here has a duration: it ends because the tester gives up what does not answer.
"""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from epollo import address
from epollo.engine import available
from tests.bench.terminal import terminal
from tests.support import DEADLINE, Peer, frame

CONNECTIONS = 2
SIZE = 64
TIMEOUT = "300ms"
TALK = 10  # messages that are answered before a server goes wrong

Serve = Callable[["Accepted"], object]
both_engines = pytest.mark.parametrize("engine", available())


class Accepted(Peer):
    """The server's end of a connection."""

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        sock.settimeout(DEADLINE)

    def take(self) -> bytes:
        """One u32 frame of the tester."""
        return self.receive(len(frame(bytes(SIZE))))

    def talk(self) -> None:
        """Answer some messages rightly."""
        for _ in range(TALK):
            self.send(self.take())

    def hold(self) -> None:
        """Say nothing more, for as long as the tester is there."""
        self.receive_all()


@contextmanager
def hostile(serve: Serve) -> Iterator[str]:
    """A server that does ``serve`` to each connection, all at once; gives its address."""
    peers: list[Accepted] = []
    threads: list[threading.Thread] = []

    def serve_one(peer: Accepted) -> None:
        with peer, suppress(OSError):  # the tester has gone
            serve(peer)

    def accept_all() -> None:
        while True:
            try:
                peers.append(Accepted(listener.accept()[0]))
            except OSError:  # EINVAL: shut down
                return
            threads.append(threading.Thread(target=serve_one, args=(peers[-1],)))
            threads[-1].start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        accepting = threading.Thread(target=accept_all)
        accepting.start()
        try:
            yield str(address.of(listener.getsockname()))
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            for thread in (accepting, *threads):
                thread.join()


def errors_of(where: str, engine: str, folder: Path, *arguments: str) -> dict[str, int]:
    """What a run against ``where`` counts: it has to fail, say so, and leave no trace."""
    file = folder / "result.json"
    load = ["-c", str(CONNECTIONS), "--warmup", "0", "--timeout", TIMEOUT, "--engine", engine]
    with terminal("bench", where, "-n", "1000", *load, *arguments, "--json", str(file)) as run:
        assert run.status() == 1
        run.assert_as_found()
        assert run.said() == ""
        report = run.report()
    errors: dict[str, int] = json.loads(file.read_text())["errors"]
    verdict = report.rstrip().rpartition("\n")[2]
    assert verdict.startswith("verdict      FAILED: ")
    for name, count in errors.items():
        assert f"{name:<15} {count:>10,}   " in report
    return errors


# -- servers that begin well


def stop_answering(peer: Accepted) -> None:
    peer.talk()
    peer.hold()


def reset(peer: Accepted) -> None:
    peer.talk()
    peer.take()
    peer.reset()


def close(peer: Accepted) -> None:
    peer.talk()
    peer.take()


def send_half_and_stop(peer: Accepted) -> None:
    peer.talk()
    peer.send(peer.take()[:20])
    peer.hold()


def send_half_and_close(peer: Accepted) -> None:
    peer.talk()
    peer.send(peer.take()[:20])


def trickle(peer: Accepted) -> None:
    """A byte at a time, always one before it could be thought dead."""
    peer.talk()
    reply = peer.take()
    pace = threading.Event()
    for at in range(len(reply) - 1):
        peer.send(reply[at : at + 1])
        pace.wait(0.1)


@both_engines
@pytest.mark.parametrize(
    ("serve", "error"),
    [
        (stop_answering, None),
        (reset, "reset"),
        (close, "closed_early"),
        (send_half_and_stop, None),
        (send_half_and_close, "closed_early"),
        (trickle, None),
    ],
)
def test_each_connection_is_counted_with_the_message_that_it_lost(
    serve: Serve, error: str | None, engine: str, tmp_path: Path
) -> None:
    wanted = {"unanswered": CONNECTIONS} | ({error: CONNECTIONS} if error else {})
    with hostile(serve) as where:
        assert errors_of(where, engine, tmp_path) == wanted


@both_engines
@pytest.mark.parametrize(("serve", "error"), [(stop_answering, None), (reset, "reset")])
def test_an_open_loop_counts_all_that_were_due(
    serve: Serve, error: str | None, engine: str, tmp_path: Path
) -> None:
    with hostile(serve) as where:
        errors = errors_of(where, engine, tmp_path, "-n", "200", "--rate", "1000")
    assert errors["unanswered"] >= CONNECTIONS
    assert set(errors) == {"unanswered"} | ({error} if error else set())


def repeat(peer: Accepted) -> None:
    while request := peer.take():
        peer.send(request * 2)


def add(peer: Accepted) -> None:
    while request := peer.take():
        peer.send(request + frame(b"and by the way"))


def flood(peer: Accepted) -> None:
    peer.talk()
    while True:
        peer.send(frame(bytes(SIZE)) * 100)


@both_engines
@pytest.mark.parametrize(
    ("serve", "error"), [(repeat, "duplicate"), (add, "extra"), (flood, "wrong_bytes")]
)
def test_too_many_replies(serve: Serve, error: str, engine: str, tmp_path: Path) -> None:
    with hostile(serve) as where:
        assert errors_of(where, engine, tmp_path)[error] >= 1


# -- servers that never begin


@both_engines
def test_a_server_that_accepts_nobody(engine: str, tmp_path: Path) -> None:
    """Every connect succeeds: the kernel does that."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        where = str(address.of(listener.getsockname()))
        assert errors_of(where, engine, tmp_path) == {"unanswered": CONNECTIONS}


@both_engines
def test_an_accept_queue_that_has_room_for_some(engine: str, tmp_path: Path) -> None:
    """One fits, beyond the backlog of 0; the kernel drops the others' SYN (listen(2))."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        where = str(address.of(listener.getsockname()))
        errors = errors_of(where, engine, tmp_path, "-c", "5")
    assert set(errors) == {"unanswered", "connect_timeout"}
    assert sum(errors.values()) == 5


@both_engines
def test_a_server_that_accepts_and_never_reads(engine: str, tmp_path: Path) -> None:
    over = threading.Event()
    with hostile(lambda _: over.wait(DEADLINE)) as where:
        errors = errors_of(where, engine, tmp_path, "-s", "20MiB")
        over.set()
    assert errors == {"unanswered": CONNECTIONS}


@both_engines
def test_a_full_accept_queue_is_one_line(engine: str) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        where = address.of(listener.getsockname())
        peers = [address.start_connect(where) for _ in range(4)]
        assert_no_run(str(where), engine, f"nothing answers there within {0.3:g} s")
        for peer in peers:
            peer.close()


@both_engines
def test_a_server_that_refuses_is_one_line(engine: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        where = str(address.of(listener.getsockname()))
    assert_no_run(where, engine, "connection refused; nothing listens there")


def assert_no_run(where: str, engine: str, why: str) -> None:
    """There is nothing to report of a run without a connection, but why there was none."""
    with terminal("bench", where, "--timeout", TIMEOUT, "--engine", engine) as run:
        assert run.status() == 1
        run.assert_as_found()
        assert run.said() == f"epollo: error: cannot connect to {where}: {why}\n"
        assert run.report() == ""


# -- servers of other protocols


def http(peer: Accepted) -> None:
    peer.receive(SIZE)
    peer.send(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")


def ssh(peer: Accepted) -> None:
    """Which greets."""
    peer.send(b"SSH-2.0-OpenSSH_9.2p1\r\n")
    peer.hold()


def tls(peer: Accepted) -> None:
    """What OpenSSL says to a message that is no hello: an alert."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    shaking = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).wrap_bio(incoming, outgoing, server_side=True)
    incoming.write(peer.take())
    with suppress(ssl.SSLError):
        shaking.do_handshake()
    peer.send(outgoing.read())


@both_engines
@pytest.mark.parametrize("serve", [http, ssh, tls])
def test_another_protocol_is_no_frame(serve: Serve, engine: str, tmp_path: Path) -> None:
    with hostile(serve) as where:
        errors = errors_of(where, engine, tmp_path)
    assert errors == {"bad_frame": CONNECTIONS, "unanswered": CONNECTIONS}


@both_engines
def test_lines_of_another_protocol_are_wrong_replies(engine: str, tmp_path: Path) -> None:
    with hostile(http) as where:
        errors = errors_of(where, engine, tmp_path, "-f", "line")
    assert errors["wrong_bytes"] >= CONNECTIONS
