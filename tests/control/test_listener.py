"""The control socket on a loop: for clients, for several, and for those that mean no good."""

from __future__ import annotations

import json
import os
import stat
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest

from epollo import BindError, SettingError
from epollo.control import listener, session
from epollo.control.client import ControlClient
from epollo.control.commands import Commands
from epollo.control.listener import MOST, ControlListener, listen_at
from epollo.engine import EventLoop, new_loop
from epollo.errors import ControlError
from tests.control.support import Client, FakeServer, figures
from tests.logs import Log
from tests.support import until

STATUS = b'{"command": "status"}\n'


@contextmanager
def answering(
    loop: EventLoop, path: Path, server: FakeServer | None = None
) -> Iterator[ControlListener]:
    """The socket at ``path``, on ``loop`` in a thread."""
    if server is None:
        server = FakeServer((11, 0))
        server.answers = {11: figures()}
    users = {os.geteuid()}
    commands = Commands(server, server)
    controlled = ControlListener(loop, listen_at(str(path)), lambda _: commands, users)
    controlled.begin()
    thread = threading.Thread(target=loop.run)
    thread.start()
    try:
        yield controlled
    finally:
        loop.call_threadsafe(controlled.close)
        loop.call_threadsafe(loop.stop)
        thread.join()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "s"


def test_a_client_asks_again_and_again(loop: EventLoop, path: Path) -> None:
    with answering(loop, path), Client(path) as client:
        for _ in range(3):
            assert client.ask("status")["totals"]["messages_in"] == 10
    assert not path.exists()


def test_requests_may_come_byte_by_byte_or_together(loop: EventLoop, path: Path) -> None:
    with answering(loop, path), Client(path) as client:
        for byte in STATUS:
            client.send(bytes([byte]))
        assert client.line()["version"]
        client.send(STATUS * 3)
        client.socket.shutdown(1)
        assert [client.line()["stage"] for _ in range(3)] == ["serves"] * 3
        assert client.line() is None


def test_the_file_is_for_its_user_alone_from_its_creation_on(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the chmod after bind(2), and with no umask."""
    monkeypatch.setattr(Path, "chmod", lambda *_: None)
    before = os.umask(0)
    try:
        bound = listen_at(str(path))
    finally:
        os.umask(before)
    with bound.socket:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_another_user_is_refused(
    loop: EventLoop, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the file lets it connect, such as to a socket that was inherited."""
    monkeypatch.setattr(listener, "_user_of", lambda _: os.geteuid() + 1)
    with answering(loop, path), Client(path) as client:
        assert "may not control this server" in client.line()["error"]
        assert client.line() is None


def test_another_user_is_told_so_by_the_command(
    loop: EventLoop, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener, "_user_of", lambda _: os.geteuid() + 1)
    with answering(loop, path):
        for _ in range(10):  # it may be refused before or after it has asked
            with ControlClient(str(path)) as client, pytest.raises(ControlError, match="may not"):
                client.ask("status")


def test_a_socket_of_a_server_that_has_ended_is_replaced(loop: EventLoop, path: Path) -> None:
    listen_at(str(path)).socket.close()
    assert path.is_socket()
    with answering(loop, path), Client(path) as client:
        assert client.ask("status")["version"]


def test_one_of_a_server_that_runs_is_an_error_that_names_the_setting(
    loop: EventLoop, path: Path
) -> None:
    with answering(loop, path), Client(path) as client:
        with pytest.raises(BindError, match=r"^control: cannot listen on unix:.*in use"):
            listen_at(str(path))
        assert client.ask("status")["version"]


def test_a_path_that_cannot_be_is_an_error_that_names_the_setting(tmp_path: Path) -> None:
    with pytest.raises(BindError, match=r"^control: cannot listen on unix:.*: no such file"):
        listen_at(str(tmp_path / "no" / "s"))
    with pytest.raises(SettingError, match=r"^control: .* at most 107 bytes$"):
        listen_at(str(tmp_path / ("x" * 108)))


def test_a_name_that_would_be_an_abstract_address_is_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An abstract socket has no permissions: anybody could connect."""
    monkeypatch.chdir(tmp_path)
    with listen_at("@s").socket:
        assert (tmp_path / "@s").is_socket()


def test_a_file_that_is_no_socket_stays(tmp_path: Path) -> None:
    (tmp_path / "s").write_text("a letter")
    with pytest.raises(BindError, match=r"^control: "):
        listen_at(str(tmp_path / "s"))
    assert (tmp_path / "s").read_text() == "a letter"


def test_garbage_is_answered_with_an_error(loop: EventLoop, path: Path) -> None:
    with answering(loop, path), Client(path) as client:
        client.send(b"GET / HTTP/1.1\r\n\xff\x00\n")
        assert client.line()["error"] == client.line()["error"] == "not an object in JSON"
        assert client.ask("status")["version"]


def test_a_request_without_an_end_is_refused(loop: EventLoop, path: Path) -> None:
    with answering(loop, path), Client(path) as client:
        client.send(b"x" * (session.MOST_REQUEST + 1))
        assert client.line() == {"error": f"a request of more than {session.MOST_REQUEST} bytes"}
        assert client.line() is None


def test_a_client_that_hangs_is_closed(
    loop: EventLoop, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also one that trickles: its bytes give it no more time."""
    monkeypatch.setattr(session, "REQUEST_SECONDS", 0.2)
    with answering(loop, path), Client(path) as silent, Client(path) as slow:
        slow.send(STATUS[:5])
        assert silent.line() is None
        assert slow.line() is None


def test_a_client_that_takes_no_answer_is_closed(
    loop: EventLoop, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "ANSWER_SECONDS", 0.2)
    server = FakeServer((11, 0))
    server.answers = {11: figures(paused={"x" * 2_000_000: 1})}
    with answering(loop, path, server) as controlled, Client(path) as deaf:
        deaf.send(STATUS)
        with Client(path) as other:
            other.send(b"{}\n")
            assert other.line()["error"]
            until(lambda: len(controlled._sessions) == 1)


def test_an_answer_that_is_too_large_is_an_error(loop: EventLoop, path: Path) -> None:
    server = FakeServer((11, 0))
    server.answers = {11: figures(paused={"x" * session.MOST_ANSWER: 1})}
    with answering(loop, path, server), Client(path) as client:
        assert client.ask("status")["error"].startswith("an answer of more than ")


def test_of_too_many_clients_the_first_is_closed(loop: EventLoop, path: Path) -> None:
    with answering(loop, path), ExitStack() as every:
        clients = [every.enter_context(Client(path)) for _ in range(MOST)]
        for client in clients:
            assert client.ask("status")["version"]
        late = every.enter_context(Client(path))
        assert late.ask("status")["version"]
        assert clients[0].line() is None
        assert clients[1].ask("status")["version"]


def test_a_client_that_the_poller_cannot_watch_is_refused_in_one_line(
    path: Path, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = new_loop("python", "select")
    with closing(loop), answering(loop, path):
        with monkeypatch.context() as full:
            full.setattr("epollo.engine.python.poller.SELECT_LIMIT", 0)
            with Client(path) as refused:
                assert refused.line() is None
        with Client(path) as client:
            assert client.ask("status")["version"]
    [line] = log.take()
    assert line.startswith("control: connection refused: select cannot watch descriptor ")


def test_a_client_reads_no_second_request_while_one_is_done(loop: EventLoop, path: Path) -> None:
    """What it sends meanwhile stays with the kernel, which holds it back."""
    server = FakeServer((11, 0))
    server.answers = {11: figures()}
    with answering(loop, path, server), Client(path) as client:
        client.send(b'{"command": "reload"}\n')
        until(lambda: server.waiting)
        client.socket.settimeout(0.2)
        with pytest.raises(TimeoutError):
            _send_for_ever(client)
        client.socket.settimeout(30)
        assert server.asked == []
        loop.call_threadsafe(lambda: server.waiting[0]({"replaced": 1}))
        assert client.line() == {"replaced": 1}
        assert client.line()["version"]


def test_a_client_that_has_gone_gets_no_answer(loop: EventLoop, path: Path) -> None:
    server = FakeServer((11, 0))
    with answering(loop, path, server) as controlled:
        with Client(path) as client:
            client.send(b'{"command": "reload"}\n')
            until(lambda: server.waiting)
        loop.call_threadsafe(lambda: server.waiting[0]({"replaced": 1}))
        until(lambda: not controlled._sessions)


def test_what_a_command_raises_is_logged_and_answered(
    loop: EventLoop, path: Path, log: Log
) -> None:
    server = FakeServer((11, 0))
    server.answers = {11: {"total": 1}}  # without the list
    with answering(loop, path, server), Client(path) as client:
        assert "was not handled" in client.ask("connections")["error"]
        assert "was not handled" in client.ask("connections")["error"]
    assert [record.getMessage() for record in log.records] == [
        "a request at the control socket was not handled"
    ] * 2
    log.records.clear()


def test_it_closes_though_clients_are_connected(loop: EventLoop, path: Path) -> None:
    with ExitStack() as stack:
        with answering(loop, path):
            client = stack.enter_context(Client(path))
            assert client.ask("status")["version"]
        assert client.line() is None
    assert not path.exists()


def test_a_flood_of_requests_is_done_at_a_pace(loop: EventLoop, path: Path) -> None:
    """Each client has its pauses: most of the loop's time is left."""
    server = FakeServer((11, 0))
    server.answers = {11: figures()}
    with answering(loop, path, server), Client(path) as client:
        client.send(STATUS * 5)
        for _ in range(5):
            assert client.line()["version"]
    assert server.times[-1] - server.times[0] >= 4 * session.PAUSE_SECONDS


def _send_for_ever(client: Client) -> None:
    while True:
        client.send(STATUS * 100)


def test_the_answer_is_one_line_of_json(loop: EventLoop, path: Path) -> None:
    server = FakeServer((11, 0))
    server.answers = {11: figures(paused={"line\nfeed": 1})}
    with answering(loop, path, server), Client(path) as client:
        client.send(STATUS)
        assert json.loads(json.dumps(client.line()))["totals"]["paused"] == {"line\nfeed": 1}
