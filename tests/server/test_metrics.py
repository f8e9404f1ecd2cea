"""The metrics, health and readiness of a server of one process, on its own loop."""

from __future__ import annotations

import importlib.util
import os
import shutil
import socket
import subprocess
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest

from epollo import BindError, Server, SettingError, connect
from epollo.metrics.listener import MOST
from tests.engines import Engine
from tests.metrics.support import Scraped, get, scraped_when
from tests.support import DEADLINE, Peer, until

ANYWHERE = {"metrics": "127.0.0.1:0"}


def echo(message: bytes) -> bytes:
    return message


@pytest.fixture(autouse=True)
def _told(log: Any) -> Any:
    """Where they are is told with the level INFO."""
    yield
    log.records[:] = [each for each in log.records if "metrics on " not in each.getMessage()]


def test_they_are_what_was_received_and_sent(engine: Engine) -> None:
    with engine.server(echo, **ANYWHERE) as server:
        with connect(server.addresses[0]) as client:
            for number in range(10):
                client.request(b"x" * number)
            now = Scraped(server.metrics_url)
            assert now.sum("epollo_messages_received_total") == 10
            assert now.sum("epollo_messages_sent_total") == 10
            assert now.sum("epollo_received_bytes_total") == 10 * 4 + 45
            assert now.sum("epollo_sent_bytes_total") == 10 * 4 + 45
            assert now.sum("epollo_connections_open") == 1
            assert now.sum("epollo_handler_seconds_count") == 10
        now = scraped_when(server.metrics_url, lambda now: not now.sum("epollo_connections_open"))
        assert now.sum("epollo_connections_accepted_total") == 1
        assert now.sum("epollo_connections_closed_total", reason="eof") == 1
        assert now.sum("epollo_connections_closed_total") == 1


def test_who_asks_is_no_connection_of_the_server(engine: Engine) -> None:
    with engine.server(echo, **ANYWHERE) as server, Peer(server.metrics_url[7:-8]) as peer:
        peer.send(b"GET /")
        now = Scraped(server.metrics_url)
        assert now.sum("epollo_connections_accepted_total") == 0
        assert server.connections == frozenset()


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_promtool_finds_no_fault(engine: Engine) -> None:
    with engine.server(echo, **ANYWHERE) as server:
        text = Scraped(server.metrics_url).text
    checked = subprocess.run(
        ["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


def test_ready_until_a_stop_begins(engine: Engine) -> None:
    with engine.server(echo, **ANYWHERE) as server:
        where = server.metrics_url
        assert get(where, "/readyz") == (200, "ready\n")
        assert get(where, "/healthz") == (200, "ok\n")
        server.stop(delay="1h")
        assert get(where, "/readyz") == (503, "not ready\n")
        assert get(where, "/healthz") == (200, "ok\n")
        server.stop(quick=True)


def test_it_answers_while_it_drains(engine: Engine) -> None:
    with engine.server(echo, drain_quiet="1h", graceful_timeout="1h", **ANYWHERE) as server:
        where = server.metrics_url
        with Peer(server.addresses[0]) as peer:
            assert peer.ask(b"x") == b"x"
            server.stop()
            until(lambda: get(where, "/readyz").status == 503)
            assert Scraped(where).sum("epollo_connections_open") == 1
            assert peer.ask(b"y") == b"y"


def test_a_unix_socket(engine: Engine, tmp_path: Path) -> None:
    path = tmp_path / "metrics"
    with engine.server(echo, metrics=f"unix:{path}") as server:
        assert server.metrics_url == f"unix:{path}"
        assert Scraped(server.metrics_url).sum("epollo_connections_open") == 0
    assert not path.exists()


def test_an_address_in_use_is_one_line_that_names_the_setting() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        where = f"127.0.0.1:{taken.getsockname()[1]}"
        server = Server(echo, "127.0.0.1:0", metrics=where)
        with pytest.raises(BindError) as caught:
            server.start()
    text = str(caught.value)
    assert text.startswith(f"metrics: cannot listen on {where}: ")
    assert "\n" not in text


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    server = Server(echo, "127.0.0.1:0", metrics="127.0.0.1:0")
    with pytest.raises(SettingError, match=r"^metrics: needs .*pip install 'epollo\[metrics\]'$"):
        server.start()


def test_a_server_may_be_started_again() -> None:
    server = Server(echo, "127.0.0.1:0", metrics="127.0.0.1:0")
    for times in (1, 2):
        with server:
            with connect(server.addresses[0]) as client:
                client.request(b"x")
            assert Scraped(server.metrics_url).sum("epollo_messages_received_total") == times
        assert server.metrics_url == ""


def test_a_forked_process_does_not_keep_the_address(engine: Engine) -> None:
    """The metrics are the parent's: a scraper sees the end of its response."""
    ends = os.pipe()

    def fork(message: bytes) -> bytes:
        if not os.fork():
            os.close(ends[1])
            os.read(ends[0], 1)  # until the parent closes its end
            os._exit(0)
        return message

    with engine.server(fork, **ANYWHERE) as server:
        where = server.metrics_url
        with connect(server.addresses[0]) as client, Peer(where[7:-8]) as early:
            early.send(b"GET /metrics HTTP/1.1\r\n")
            client.request(b"x")
            early.send(b"Host: a\r\n\r\n")
            assert b"epollo_messages_received_total" in early.receive_all()
            assert Scraped(where).sum("epollo_messages_received_total") == 1
    with socket.create_server(("127.0.0.1", int(where[7:-8].rpartition(":")[2]))):
        pass
    for end in ends:
        os.close(end)
    os.wait()


def test_those_who_mean_no_good_keep_nobody_out(engine: Engine) -> None:
    """Requests that do not end, heads without end, responses that nobody takes, and many of all:
    messages are answered, and so is a scraper."""
    with engine.server(echo, **ANYWHERE) as server, ExitStack() as everyone:
        where = server.metrics_url[7:-8]
        for number in range(3 * MOST):
            peer = everyone.enter_context(Peer(where, receive_buffer=1))
            part = [b"GET / HT", b"X: y\r\n" * 10_000, b"GET / HTTP/1.0\r\n\r\n"][number % 3]
            with suppress(OSError):  # it may be given up by then
                peer.send(part)
        with Peer(server.addresses[0]) as peer:
            assert peer.ask(b"x") == b"x"
        assert Scraped(where).sum("epollo_messages_received_total") == 1


def test_scrapes_in_a_row_cost_little(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """All that come within a period are answered together, after it."""
    from epollo.metrics import server_pages

    monkeypatch.setattr(server_pages, "PERIOD", 3600.0)
    asked: list[int] = []
    with engine.server(echo, **ANYWHERE) as server, ExitStack() as waiting:
        inspection = server._inspection
        tell = inspection.tell

        def count(*arguments: Any) -> None:
            asked.append(1)
            tell(*arguments)

        monkeypatch.setattr(inspection, "tell", count)
        where = server.metrics_url
        Scraped(where)
        peers = [waiting.enter_context(Peer(where[7:-8])) for _ in range(MOST // 2)]
        for peer in peers:
            peer.send(b"GET /metrics HTTP/1.0\r\n\r\n")
        assert get(where, "/healthz").status == 200
        assert len(asked) == 1


def test_a_long_look_is_followed_by_a_long_pause(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many connections there are, scrapes in a row have a fifth of the time at most."""
    from epollo.metrics import listener, server_pages

    longest = 1.0  # second; the look of a busy machine may be longer than it is made here
    monkeypatch.setattr(server_pages, "_LONGEST_PAUSE", longest)
    monkeypatch.setattr(listener, "SECONDS", DEADLINE)  # for a response
    looks: list[tuple[float, float]] = []  # the begin and the end of each
    with engine.server(echo, **ANYWHERE) as server:
        tell = server._inspection.tell

        def take_long(*arguments: Any) -> None:
            begin = time.monotonic()
            while time.monotonic() < begin + 2 * server_pages.PERIOD:
                pass
            looks.append((begin, time.monotonic()))
            tell(*arguments)

        monkeypatch.setattr(server._inspection, "tell", take_long)
        where = server.metrics_url
        Scraped(where)
        Scraped(where)
    (begin, end), (again, _) = looks
    assert again - end >= min(4 * (end - begin), longest)
