"""Servers that fail, or are none: each gives a report that says what they did, in time, exit status
1, and a terminal that is as it was found.

No run here has a duration: it ends because the tester gives up what does not answer.
"""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from epollo import address
from epollo.engine import available
from tests.bench.hostile import SIZE, Accepted, Serve, hostile
from tests.bench.terminal import new_screen, run_here
from tests.support import DEADLINE, frame, unused

CONNECTIONS = 2
TIMEOUT = "1s"


Run = Callable[..., dict[str, int]]


@pytest.fixture(params=available())
def run(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """What `epollo bench` on an engine counts against a server. It has to fail, to say so, and to
    leave no trace in the terminal."""
    file = tmp_path / "result.json"

    def errors_of(where: str, *arguments: str) -> dict[str, int]:
        usual = {"-c": str(CONNECTIONS), "-n": "1000", "--warmup": "0", "--timeout": TIMEOUT}
        load = [word for pair in usual.items() if pair[0] not in arguments for word in pair]
        load += ["--engine", request.param, "--json", str(file), *arguments]
        with new_screen() as screen:
            status, report = run_here(screen, monkeypatch, "bench", where, *load)
            screen.assert_as_found()
            assert screen.said() == ""
        assert status == 1
        document = json.loads(file.read_text())
        assert document["response"]["count"] == document["sent"]  # nothing is dropped
        errors: dict[str, int] = document["errors"]
        assert report.rstrip().rpartition("\n")[2].startswith("verdict      FAILED: ")
        for name, count in errors.items():
            assert f"{name:<15} {count:>10,}   " in report
        return errors

    return errors_of


# -- servers that begin well


def stop_answering(peer: Accepted) -> None:
    peer.talk()
    peer.hold()


def reset(peer: Accepted) -> None:
    peer.talk()
    peer.next_frame()
    peer.reset()


def close(peer: Accepted) -> None:
    peer.talk()
    peer.next_frame()


def send_half_and_stop(peer: Accepted) -> None:
    peer.talk()
    peer.send(peer.next_frame()[:20])
    peer.hold()


def send_half_and_close(peer: Accepted) -> None:
    peer.talk()
    peer.send(peer.next_frame()[:20])


def trickle(peer: Accepted) -> None:
    """A byte at a time, always one before it could be thought dead."""
    peer.talk()
    reply = peer.next_frame()
    pace = threading.Event()
    for at in range(len(reply) - 1):
        peer.send(reply[at : at + 1])
        pace.wait(0.1)


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
    serve: Serve, error: str | None, run: Run
) -> None:
    wanted = {"unanswered": CONNECTIONS} | ({error: CONNECTIONS} if error else {})
    with hostile(serve) as where:
        assert run(where) == wanted


@pytest.mark.parametrize(("serve", "error"), [(stop_answering, None), (reset, "reset")])
def test_an_open_loop_counts_all_that_were_due(serve: Serve, error: str | None, run: Run) -> None:
    with hostile(serve) as where:
        errors = run(where, "-n", "200", "--rate", "1000")
    assert errors["unanswered"] >= CONNECTIONS
    assert set(errors) == {"unanswered"} | ({error} if error else set())


def repeat(peer: Accepted) -> None:
    while request := peer.next_frame():
        peer.send(request * 2)


def add(peer: Accepted) -> None:
    while request := peer.next_frame():
        peer.send(request + frame(b"and by the way"))


def flood(peer: Accepted) -> None:
    peer.talk()
    while True:
        peer.send(frame(bytes(SIZE)) * 100)


@pytest.mark.parametrize(
    ("serve", "error"), [(repeat, "duplicate"), (add, "extra"), (flood, "wrong_bytes")]
)
def test_too_many_replies(serve: Serve, error: str, run: Run) -> None:
    with hostile(serve) as where:
        assert run(where)[error] >= 1


# -- servers that never begin


def test_a_server_that_accepts_nobody(run: Run) -> None:
    """Every connect succeeds: the kernel does that."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        where = str(address.of(listener.getsockname()))
        assert run(where) == {"unanswered": CONNECTIONS}


def test_an_accept_queue_that_has_room_for_some(run: Run) -> None:
    """One fits, beyond the backlog of 0; the kernel drops the others' SYN (listen(2))."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        where = str(address.of(listener.getsockname()))
        errors = run(where, "-c", "5")
    assert set(errors) == {"unanswered", "connect_timeout"}
    assert sum(errors.values()) == 5


def test_a_server_that_accepts_and_never_reads(run: Run) -> None:
    over = threading.Event()
    with hostile(lambda _: over.wait(DEADLINE)) as where:
        errors = run(where, "-s", "20MiB")
        over.set()
    assert errors == {"unanswered": CONNECTIONS}


@pytest.mark.parametrize("engine", available())
def test_a_full_accept_queue_is_one_line(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        where = address.of(listener.getsockname())
        peers = [address.start_connect(where) for _ in range(4)]
        said = said_without_a_run(str(where), engine, monkeypatch)
        for peer in peers:
            peer.close()
    assert said.endswith(f"cannot connect to {where}: no answer within 1 s\n")


@pytest.mark.parametrize("engine", available())
def test_a_server_that_refuses_is_one_line(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with unused() as where:
        said = said_without_a_run(where, engine, monkeypatch)
    assert said.endswith(f"cannot connect to {where}: connection refused; nothing listens there\n")


def said_without_a_run(where: str, engine: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """There is nothing to report of a run without a connection, but why there was none."""
    with new_screen() as screen:
        arguments = ["bench", where, "--timeout", TIMEOUT, "--engine", engine]
        assert run_here(screen, monkeypatch, *arguments) == (1, "")
        screen.assert_as_found()
        said = screen.said()
    assert said.startswith("epollo: error: ")
    assert said.count("\n") == 1
    return said


# -- servers of other protocols


def http(peer: Accepted) -> None:
    peer.receive(SIZE)
    peer.send(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")


def ssh(peer: Accepted) -> None:
    """Which greets."""
    peer.send(b"SSH-2.0-OpenSSH_9.2p1\r\n")
    peer.hold()


def tls(peer: Accepted) -> None:
    """What OpenSSL does with a message that is no hello."""
    shaking = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).wrap_bio(
        incoming := ssl.MemoryBIO(), outgoing := ssl.MemoryBIO(), server_side=True
    )
    incoming.write(peer.next_frame())
    with suppress(ssl.SSLError):
        shaking.do_handshake()
    peer.send(outgoing.read())


@pytest.mark.parametrize(
    ("serve", "error"), [(http, "bad_frame"), (ssh, "bad_frame"), (tls, "closed_early")]
)
def test_another_protocol(serve: Serve, error: str, run: Run) -> None:
    with hostile(serve) as where:
        assert run(where) == {error: CONNECTIONS, "unanswered": CONNECTIONS}


def test_lines_of_another_protocol_are_wrong_replies(run: Run) -> None:
    with hostile(http) as where:
        errors = run(where, "-f", "line")
    assert errors["wrong_bytes"] >= CONNECTIONS
