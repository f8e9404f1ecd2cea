"""TLS between both clients and the server: client certificates, ALPN, and the close."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
import trustme
import uvloop

import epollo
from epollo import AsyncClient, CloseReason
from epollo.tls import server_context
from tests.certificates import VERSIONS, Files
from tests.engines import Engine
from tests.support import DEADLINE, Recorder, until

uvloop.new_event_loop().close()  # libuv keeps a pipe for signals once it has had a loop

Ask = Callable[..., list[bytes]]


def ask_blocking(to: str, tls: ssl.SSLContext, messages: Iterable[bytes]) -> list[bytes]:
    with epollo.connect(to, tls=tls, server_hostname="localhost", timeout=DEADLINE) as client:
        return [client.request(message) for message in messages]


def ask_on(make_loop: Callable[[], asyncio.AbstractEventLoop]) -> Ask:
    def ask(to: str, tls: ssl.SSLContext, messages: Iterable[bytes]) -> list[bytes]:
        async def main() -> list[bytes]:
            async with AsyncClient(
                to, tls=tls, server_hostname="localhost", timeout=DEADLINE
            ) as client:
                return [await client.request(message) for message in messages]

        with asyncio.Runner(loop_factory=make_loop) as runner:
            return runner.run(main())

    return ask


CLIENTS = {
    "blocking": ask_blocking,
    "asyncio": ask_on(asyncio.new_event_loop),
    "uvloop": ask_on(uvloop.new_event_loop),
}


@pytest.fixture(params=CLIENTS)
def ask(request: pytest.FixtureRequest) -> Ask:
    """Send requests to a server one by one; returns the replies."""
    return CLIENTS[request.param]


@pytest.fixture
def settings(files: Files) -> dict[str, Any]:
    """The settings of a server that requires a client certificate."""
    return {**files.settings, "tls_ca": files.ca, "max_frame": "4MiB"}


@pytest.mark.parametrize("version", VERSIONS, ids=str)
def test_a_clients_certificate_is_accepted(
    engine: Engine, ask: Ask, files: Files, settings: dict[str, Any], version: ssl.TLSVersion
) -> None:
    names: list[object] = []

    def received(message: bytes, connection: epollo.Connection) -> bytes:
        assert connection.tls is not None
        certificate = connection.tls.getpeercert()
        assert certificate is not None
        names.append(certificate["subjectAltName"])
        return message

    context = files.client(version)
    files.authority.issue_cert("client.test").configure_cert(context)
    messages = [b"it is me", b"", bytes(range(256)) * 4000]
    with engine.server(received, **settings) as server:
        assert ask(server.addresses[0], context, messages) == messages
        until(lambda: not server.counters.open)
        assert server.counters.closed[CloseReason.EOF] == 1
    assert names == [(("DNS", "client.test"),)] * 3


@pytest.mark.parametrize("version", VERSIONS, ids=str)
@pytest.mark.parametrize("certificate", ["none", "of a stranger"])
def test_a_client_without_a_trusted_certificate_gets_an_error(
    engine: Engine,
    ask: Ask,
    files: Files,
    settings: dict[str, Any],
    version: ssl.TLSVersion,
    certificate: str,
) -> None:
    context = files.client(version)
    if certificate != "none":
        trustme.CA().issue_cert("client.test").configure_cert(context)
    recorder = Recorder()
    with engine.server(recorder, **settings) as server:
        # In TLS 1.3 a client completes its handshake before the server checks its certificate.
        wanted = (epollo.TLSHandshakeError, epollo.ConnectionClosed)
        with pytest.raises(wanted) as caught:
            ask(server.addresses[0], context, [b"hello"])
        until(lambda: server.counters.closed[CloseReason.TLS_ERROR])
    assert server.addresses[0] in str(caught.value)
    assert "alert" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert recorder.opened.empty()


@pytest.mark.parametrize("offered", [["chat/1"], ["other"], []], ids=str)
def test_alpn(engine: Engine, ask: Ask, files: Files, offered: list[str]) -> None:
    def selected(_: bytes, connection: epollo.Connection) -> bytes:
        assert connection.tls is not None
        return (connection.tls.selected_alpn_protocol() or "none").encode()

    ours, theirs = server_context(files.cert, files.key), files.client()
    ours.set_alpn_protocols(["chat/2", "chat/1"])
    if offered:
        theirs.set_alpn_protocols(offered)
    with engine.server(selected, tls=ours) as server:
        agreed = b"chat/1" if "chat/1" in offered else b"none"
        assert ask(server.addresses[0], theirs, [b"which?"]) == [agreed]


def test_a_server_that_closes_ends_the_clients_stream_and_loses_nothing(
    engine: Engine, ask: Ask, files: Files
) -> None:
    def last(message: bytes, connection: epollo.Connection) -> bytes:
        connection.close()
        return message

    messages = [bytes(range(256)) * 1000]
    with engine.server(last, **files.settings) as server:
        assert ask(server.addresses[0], files.client(), messages) == messages
        with pytest.raises(epollo.StreamEnded, match="has closed the connection"):
            ask(server.addresses[0], files.client(), messages * 2)


def test_a_server_whose_certificate_is_not_trusted_is_not_spoken_to(
    engine: Engine, ask: Ask, files: Files, tmp_path: Path
) -> None:
    recorder = Recorder()
    with engine.server(recorder, **files.settings) as server:
        with pytest.raises(
            epollo.TLSHandshakeError, match="certificate of localhost is not trusted"
        ):
            ask(server.addresses[0], Files(tmp_path).client(), [b"hello"])
        until(lambda: server.counters.closed[CloseReason.TLS_ERROR])
    assert recorder.opened.empty()
