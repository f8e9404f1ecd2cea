"""Where connections come from, and what is said on them first: as the server sees it."""

from __future__ import annotations

import errno
import os
import socket
import ssl
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from epollo import (
    CloseReason,
    ConnectError,
    Connection,
    Server,
    SettingError,
    TLSHandshakeError,
    address,
    tls,
)
from epollo.bench import Result, run
from epollo.bench.run.dialer import Dialer
from epollo.bench.workload import Workload
from epollo.engine import EngineConnection, EventLoop
from tests.certificates import authority, identity, server_context
from tests.client.support import (
    Act,
    dead_port,
    echo,
    encrypted,
    peer_that,
    reset,
    resolving,
    says,
    silent,
)
from tests.engine.support import Protocol, turn_until
from tests.engines import Engine
from tests.interop.haproxy import haproxy
from tests.support import DEADLINE, Recorder, has_ipv6

SOON = 0.2  # seconds; a timeout that is meant to pass


class Caller(Protocol):
    """Says one message on each connection, and keeps the replies."""

    def __init__(self, dialer: Dialer) -> None:
        super().__init__(lambda message, _: self.replies.append(message))
        self.filters = dialer.filters
        self.replies: list[bytes] = []

    def connected(self, connection: Connection) -> None:
        super().connected(connection)
        connection.send(b"hello")


def dialer(to: str, **load: Any) -> Dialer:
    return Dialer(Workload(address=to, **{"timeout": DEADLINE} | load))


def call(loop: EventLoop, dialer: Dialer) -> tuple[Caller, EngineConnection]:
    """One connection, until it has its reply or is closed."""
    caller = Caller(dialer)
    connection = loop.attach(dialer.start(), caller)
    turn_until(
        loop, lambda: caller.replies or len(caller.events) > caller.events.count("connected")
    )
    return caller, connection


def ends(sock: socket.socket) -> None:
    """Say nothing, and end the stream."""
    sock.shutdown(socket.SHUT_WR)
    silent(sock)


@pytest.fixture
def ca(tmp_path: Path) -> str:
    """A file of the authority that signs the servers' certificates."""
    path = str(tmp_path / "ca.pem")
    authority().cert_pem.write_to_path(path)
    return path


# -- where they come from


@pytest.mark.parametrize(
    ("bind", "source"),
    [
        ("127.0.0.1:0", ("127.0.0.2", "127.0.0.3", "127.0.0.4")),
        ("127.0.0.1:0", ("127.0.0.9",)),
        ("[::1]:0", ("::1",)),
    ],
)
def test_sources_take_turns(
    engine: Engine, loop: EventLoop, recorder: Recorder, bind: str, source: tuple[str, ...]
) -> None:
    if "[" in bind and not has_ipv6():
        pytest.skip("this machine has no ::1")
    with engine.server(recorder, bind=bind) as server:
        ours = dialer(server.addresses[0], source=source)
        assert ours.filters is None
        for index in range(7):
            caller, connection = call(loop, ours)
            assert caller.replies == [b"hello"]
            seen = address.parse(recorder.connection().peername)
            assert seen.host == source[index % len(source)]
            assert str(seen) == connection.sockname
        loop.close()


def test_a_source_leaves_its_port_to_the_connect_and_small_messages_go_at_once() -> None:
    with address.listen(address.parse("127.0.0.1:0"), 1) as listener:
        where = str(address.of(listener.getsockname()))
        with dialer(where, source=("127.0.0.2",)).start() as sock:
            assert sock.getsockopt(socket.IPPROTO_IP, socket.IP_BIND_ADDRESS_NO_PORT)
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            assert not sock.getblocking()


@pytest.mark.parametrize(
    ("to", "source", "why"),
    [
        (
            "127.0.0.1:1",
            "192.0.2.1",
            "source: 192.0.2.1 is not an address of this machine; use one",
        ),
        ("127.0.0.1:1", "2001:db8::1", "source: 2001:db8::1 is not an address of this machine"),
        ("127.0.0.1:1", "localhost", "source: 'localhost' is not an IP address; write one of this"),
        ("127.0.0.1:1", "127.0.0.2:80", "source: '127.0.0.2:80' is not an IP address"),
        (
            "127.0.0.1:1",
            "::1",
            r"source: 127\.0\.0\.1:1 cannot be reached from ::1; use addresses",
        ),
        ("[::1]:1", "127.0.0.2", r"source: \[::1\]:1 cannot be reached from 127\.0\.0\.2"),
        ("unix:/run/none", "127.0.0.2", "source: unix:/run/none cannot be reached from 127.0.0.2"),
    ],
)
def test_a_source_that_is_none_is_named(to: str, source: str, why: str) -> None:
    if source == "::1" and not has_ipv6():
        pytest.skip("this machine has no ::1")
    with pytest.raises(SettingError, match=why) as caught:
        dialer(to, source=("127.0.0.3", source) if to.startswith("127") else (source,))
    assert "\n" not in str(caught.value)


def test_no_port_left_is_no_word_of_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_port(where: address.Address, source: object) -> socket.socket:
        error = OSError(errno.EADDRNOTAVAIL, os.strerror(errno.EADDRNOTAVAIL))
        raise address.connect_error(where, error) from error

    monkeypatch.setattr(address, "start_connect", no_port)
    with pytest.raises(
        ConnectError, match=r"cannot connect to 127\.0\.0\.1:1: no local port is left"
    ):
        dialer("127.0.0.1:1").start()


FEW_PORTS = """
ip link set lo up
echo 40000 40009 > /proc/sys/net/ipv4/ip_local_port_range
exec "$@"
"""

LOAD = """
import sys
import epollo
from epollo.bench import Workload, run

with epollo.Server(lambda message: message, "127.0.0.1:8091") as server:
    load = {"connections": int(sys.argv[1]), "source": tuple(sys.argv[2:])}
    result = run(Workload(address="127.0.0.1:8091", messages=100, warmup=0, **load))
print(result.connect.total, result.messages, result.errors)
"""


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["30", "127.0.0.2", "127.0.0.3", "127.0.0.4"], "30 100 {}"),
        (["12", "127.0.0.2"], "10 100 {'no_port': 2}"),
    ],
)
def test_each_source_has_all_ports_to_itself(arguments: list[str], said: str) -> None:
    """Where there are ten: the usual 28,000 would be many connections for a test."""
    isolated = ["unshare", "--map-root-user", "--net", "sh", "-ec", FEW_PORTS, "sh"]
    if subprocess.run([*isolated, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine lets nobody have a network of his own")
    command = [*isolated, sys.executable, "-c", LOAD, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout.strip(), done.stderr) == (said, "")


def test_a_name_is_looked_up_once_and_its_first_address_that_answers_is_taken(
    engine: Engine, loop: EventLoop, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    getaddrinfo, looked_up = socket.getaddrinfo, []
    with engine.server(recorder) as server:
        port = address.parse(server.addresses[0]).port

        def find(host: str, *arguments: Any, **options: Any) -> Any:
            if host != "several.example":
                return getaddrinfo(host, *arguments, **options)
            looked_up.append(host)
            hosts = ("127.0.0.9", "127.0.0.1", "127.0.0.8")  # it listens at the second
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, port)) for host in hosts]

        monkeypatch.setattr(socket, "getaddrinfo", find)
        ours = dialer(f"several.example:{port}")
        assert recorder.end() is CloseReason.EOF  # of the trial
        assert str(ours.address) == server.addresses[0]
        for _ in range(3):
            assert call(loop, ours)[0].replies == [b"hello"]
        loop.close()
    assert looked_up == ["several.example"]


def test_a_name_that_is_none_is_told() -> None:
    with pytest.raises(ConnectError, match=r"cannot connect to no-such-host\.invalid:1: "):
        dialer("no-such-host.invalid:1")


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (None, f"no answer within {DEADLINE:g} s"),
        (ConnectionRefusedError(111, "Connection refused"), "connection refused; nothing listens"),
        (ConnectionResetError(104, "Connection reset by peer"), "connection reset by peer"),
        (ConnectError("cannot connect to 127.0.0.1:1: no"), "no$"),
    ],
)
def test_why_there_is_no_connection(error: Exception | None, why: str) -> None:
    failed = dialer("127.0.0.1:1").failed(error)
    with pytest.raises(ConnectError, match=rf"^cannot connect to 127\.0\.0\.1:1: {why}"):
        raise failed


# -- TLS


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=str)
def test_tls_with_a_server_of_pythons(loop: EventLoop, ca: str, version: ssl.TLSVersion) -> None:
    theirs = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority().issue_cert("127.0.0.1").configure_cert(theirs)
    theirs.minimum_version = theirs.maximum_version = version
    with peer_that(encrypted(echo, theirs)) as where:
        caller, connection = call(loop, dialer(where, tls=True, tls_ca=ca))
        assert caller.replies == [b"hello"]
        assert caller.events == ["connected"]
        assert connection.tls is not None
        assert connection.tls.version() == {"2": "TLSv1.2", "3": "TLSv1.3"}[version.name[-1]]
        connection.close()
        turn_until(loop, lambda: connection.closed)


@pytest.mark.parametrize(
    ("host", "load"),
    [
        ("127.0.0.1", {"tls_ca": "any"}),
        ("other.example", {"tls_ca": "any"}),
        ("other.example", {"tls_ca": "", "server_name": "other.example"}),
    ],
)
def test_whom_to_trust_and_what_name_to_ask_for(
    loop: EventLoop, ca: str, host: str, load: dict[str, str]
) -> None:
    load = {"tls_ca": load["tls_ca"] or ca} | {k: v for k, v in load.items() if v}
    with peer_that(encrypted(echo, server_context(host))) as where:
        caller, connection = call(loop, dialer(where, tls=True, **load))
        assert caller.replies == [b"hello"]
        connection.close()
        turn_until(loop, lambda: connection.closed)


def test_large_messages_pass_both_ways(engine: Engine, loop: EventLoop, tmp_path: Path) -> None:
    files = identity(tmp_path, "127.0.0.1")
    message = bytes(range(256)) * (3 << 10)

    class Large(Caller):
        def connected(self, connection: Connection) -> None:
            for _ in range(5):
                connection.send(message)

    with engine.server(lambda message: message, **files) as server:
        ours = dialer(server.addresses[0], tls=True, tls_ca="any")
        caller = Large(ours)
        loop.attach(ours.start(), caller)
        turn_until(loop, lambda: len(caller.replies) == 5)
        assert caller.replies == [message] * 5
        loop.close()


def test_a_clients_certificate_is_shown(
    engine: Engine, loop: EventLoop, recorder: Recorder, tmp_path: Path, ca: str
) -> None:
    for name in ("server", "client"):
        (tmp_path / name).mkdir()
    theirs = identity(tmp_path / "server", "127.0.0.1")
    ours = identity(tmp_path / "client", "client.test")
    with engine.server(recorder, **theirs, tls_ca=ca) as server:
        caller, _ = call(loop, dialer(server.addresses[0], tls=True, tls_ca=ca, **ours))
        assert caller.replies == [b"hello"]
        state = recorder.connection().tls
        assert state is not None
        certificate = state.getpeercert()
        assert certificate is not None
        assert certificate["subjectAltName"] == (("DNS", "client.test"),)

        stranger = dialer(server.addresses[0], tls=True, tls_ca=ca)
        caller, _ = call(loop, stranger)
        assert caller.events[-1] == CloseReason.TLS_ERROR  # in TLS 1.3 it hears of it later
        assert "certificate required" in str(stranger.failed(caller.error))
        loop.close()


def test_a_protocol_is_offered_and_a_low_version_refused(
    engine: Engine, loop: EventLoop, recorder: Recorder, tmp_path: Path, ca: str
) -> None:
    theirs = identity(tmp_path, "127.0.0.1")
    load: dict[str, Any] = {"tls": True, "tls_ca": ca, "tls_alpn": ("one", "two")}
    with engine.server(recorder, **theirs, tls_alpn="two,one") as server:
        caller, _ = call(loop, dialer(server.addresses[0], **load, tls_min_version="1.3"))
        assert caller.replies == [b"hello"]
        state = recorder.connection().tls
        assert state is not None
        assert state.selected_alpn_protocol() == "two"
    old = tls.server_context(theirs["tls_cert"], theirs["tls_key"])
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    with engine.server(recorder, tls=old) as server:
        caller, _ = call(loop, dialer(server.addresses[0], **load))
        assert caller.replies == [b"hello"]
        newer = dialer(server.addresses[0], **load, tls_min_version="1.3")
        caller, _ = call(loop, newer)
        assert "version" in str(newer.failed(caller.error))
        loop.close()


@pytest.mark.parametrize(
    ("act", "load", "why"),
    [
        (encrypted(echo), {}, "not trusted: .*; name its CA as tls_ca, or 'any' to accept"),
        (
            encrypted(echo, server_context("other.example")),
            {"tls_ca": "ca"},
            "certificate of 127.0.0.1 is not trusted: .*mismatch.*; give the name .* server_name",
        ),
        (
            encrypted(echo),
            {"tls_ca": "ca", "server_name": "other.example"},
            "certificate of other.example is not trusted: .*; give the name .* server_name",
        ),
        (says(b"HTTP/1.1 400 Bad Request\r\n\r\n"), {}, "the server does not speak TLS; connect"),
        (reset, {}, "the server broke off the TLS handshake; perhaps it does"),
        (ends, {}, "the server broke off the TLS handshake; perhaps it does not"),
        (silent, {"timeout": SOON}, "no TLS handshake in time; perhaps the server does not"),
    ],
    ids=["stranger", "other-host", "other-name", "plain", "resets", "ends", "silent"],
)
def test_a_handshake_that_fails_says_why(
    loop: EventLoop, ca: str, act: Act, load: dict[str, Any], why: str
) -> None:
    load = load | ({"tls_ca": ca} if "tls_ca" in load else {})
    with peer_that(act) as where:
        ours = dialer(where, tls=True, **load)
        caller, connection = call(loop, ours)
        assert caller.events in (["tls_error"], ["reset"])
        assert not connection.established
        failed = ours.failed(caller.error)
        caller.error = None
    with pytest.raises(TLSHandshakeError, match=f"^cannot connect to {where}: .*{why}") as caught:
        raise failed
    assert "\n" not in str(caught.value)


def test_each_handshake_is_a_whole_one_and_no_session_is_kept(
    engine: Engine, loop: EventLoop, tmp_path: Path
) -> None:
    files = identity(tmp_path, "127.0.0.1")
    with engine.server(lambda message: message, **files) as server:
        ours = dialer(server.addresses[0], tls=True, tls_ca="any")
        for _ in range(10):
            _, connection = call(loop, ours)
            state = connection.tls
            assert state is not None
            assert not state.session_reused
            assert state.context.session_stats()["number"] == 0
            connection.close()
            turn_until(loop, lambda: connection.closed)  # noqa: B023
        loop.close()


@pytest.mark.parametrize(
    ("to", "load", "why"),
    [
        ("127.0.0.1:1", {"tls_ca": "any"}, "tls_ca: only for TLS; give tls too"),
        ("127.0.0.1:1", {"tls_alpn": ("h2",)}, "tls_alpn: only for TLS; give tls too"),
        ("127.0.0.1:1", {"tls_min_version": "1.3"}, "tls_min_version: only for TLS; give tls too"),
        (
            "127.0.0.1:1",
            {"tls": True, "tls_alpn": ("",)},
            "tls_alpn: '': each protocol is 1 to 255",
        ),
        (
            "127.0.0.1:1",
            {"tls": True, "tls_min_version": "1"},
            "tls_min_version: '1' is not one of",
        ),
        ("127.0.0.1:1", {"server_name": "x"}, "server_name: only for TLS; give tls too"),
        ("127.0.0.1:1", {"tls": True, "tls_ca": "/no/such.pem"}, "tls_ca: cannot read '/no/such"),
        ("127.0.0.1:1", {"tls": True, "tls_ca": __file__}, "tls_ca: no certificate in"),
        ("127.0.0.1:1", {"tls": True, "tls_cert": __file__}, "tls_cert: no certificate in"),
        ("127.0.0.1:1", {"tls": True, "tls_key": __file__}, "tls_key: needs a certificate; give"),
        ("127.0.0.1:1", {"tls": True, "server_name": ".x"}, "server_name: '.x' is not a host name"),
        ("unix:/run/none", {"tls": True}, "server_name: unix:/run/none has no host; give the name"),
    ],
)
def test_what_tls_cannot_use_is_named(to: str, load: dict[str, Any], why: str) -> None:
    with pytest.raises(SettingError, match=why) as caught:
        dialer(to, **load)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("host", "issued", "load"),
    [
        ("[fe80::77%lo]", "fe80::77", {}),
        ("epollo.example.", "epollo.example", {}),
        ("127.0.0.1", "epollo.example", {"server_name": "epollo.example."}),
    ],
)
def test_a_certificate_is_for_the_host_without_its_zone_or_last_dot(
    loop: EventLoop,
    ca: str,
    monkeypatch: pytest.MonkeyPatch,
    host: str,
    issued: str,
    load: dict[str, str],
) -> None:
    with peer_that(encrypted(echo, server_context(issued))) as where:
        server = address.parse(where)
        monkeypatch.setattr(socket, "getaddrinfo", resolving((server.host, server.port)))
        ours = dialer(f"{host}:{server.port}", tls=True, tls_ca=ca, **load)
        caller, connection = call(loop, ours)
        assert caller.replies == [b"hello"]
        connection.close()
        turn_until(loop, lambda: connection.closed)


# -- a connection with itself


@pytest.mark.parametrize(
    "load",
    [{}, {"tls": True, "tls_ca": "any"}, {"proxy_header": "v1"}, {"source": ("127.0.0.1",)}],
    ids=["plain", "tls", "proxy", "source"],
)
def test_a_run_never_measures_a_connection_with_itself(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, load: dict[str, Any]
) -> None:
    with (
        dead_port(monkeypatch, all_of_them=True) as where,
        pytest.raises(ConnectError, match="connection refused; nothing listens there"),
    ):
        measure(engine, where, connections=1, **load)


# -- a PROXY header


def proxied(engine: Engine, recorder: Recorder, **settings: Any) -> Server:
    return engine.server(recorder, proxy_protocol="required", **settings)


@pytest.mark.parametrize("version", ["v1", "v2"])
@pytest.mark.parametrize(
    ("bind", "tls"),
    [("127.0.0.1:0", False), ("127.0.0.1:0", True), ("[::1]:0", False), ("unix:{}/echo", False)],
)
def test_a_header_comes_first(
    engine: Engine,
    loop: EventLoop,
    recorder: Recorder,
    tmp_path: Path,
    version: str,
    bind: str,
    tls: bool,
) -> None:
    if "[" in bind and not has_ipv6():
        pytest.skip("this machine has no ::1")
    files = identity(tmp_path, "127.0.0.1") if tls else {}
    load = {"tls": True, "tls_ca": "any"} if tls else {}
    with proxied(engine, recorder, bind=bind.format(tmp_path), **files) as server:
        ours = dialer(server.addresses[0], proxy_header=version, **load)
        caller, connection = call(loop, ours)
        assert caller.replies == [b"hello"]
        seen = recorder.connection()
        assert seen.peername == connection.sockname
        assert (seen.tls is not None) == tls
        loop.close()


def test_a_header_names_the_source(engine: Engine, loop: EventLoop, recorder: Recorder) -> None:
    with proxied(engine, recorder) as server:
        ours = dialer(server.addresses[0], proxy_header="v1", source=("127.0.0.2", "127.0.0.3"))
        hosts = []
        for _ in range(3):
            call(loop, ours)
            hosts.append(address.parse(recorder.connection().peername).host)
        loop.close()
    assert hosts == ["127.0.0.2", "127.0.0.3", "127.0.0.2"]


def test_a_version_that_is_none_is_named() -> None:
    with pytest.raises(SettingError, match="proxy_header: 'v3' is neither v1 nor v2"):
        dialer("127.0.0.1:1", proxy_header="v3")


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_haproxy_understands_it(
    engine: Engine,
    loop: EventLoop,
    recorder: Recorder,
    tmp_path: Path,
    version: str,
) -> None:
    """And hands on what it was told, in a header of its own."""
    with (
        proxied(engine, recorder) as server,
        haproxy(tmp_path, server.addresses[0], "send-proxy-v2", "accept-proxy") as tcp,
    ):
        unix = f"unix:{tmp_path}/front"
        caller, connection = call(loop, dialer(tcp, proxy_header=version, source=("127.0.0.7",)))
        assert caller.replies == [b"hello"]
        assert recorder.connection().peername == connection.sockname
        assert call(loop, dialer(unix, proxy_header=version))[0].replies == [b"hello"]
        loop.close()


# -- a whole run


def measure(engine: Engine, to: str, **load: Any) -> Result:
    settings: dict[str, Any] = {"connections": 6, "messages": 120, "duration": None, "warmup": 0}
    settings |= {"timeout": DEADLINE, "engine": engine.name}
    return run(Workload(address=to, **settings | load))


def test_a_run_with_all_of_it(engine: Engine, recorder: Recorder, tmp_path: Path, ca: str) -> None:
    files = identity(tmp_path, "echo.example")
    load: dict[str, Any] = {"tls": True, "tls_ca": ca, "server_name": "echo.example"}
    load |= {"proxy_header": "v2", "source": ("127.0.0.2", "127.0.0.3"), "reconnect_every": 10}
    with proxied(engine, recorder, **files) as server:
        result = measure(engine, server.addresses[0], **load)
    assert result.errors == {}
    assert result.messages == 120
    assert result.connect.total >= 12
    hosts = [address.parse(recorder.connection().peername).host for _ in range(12)]
    assert hosts.count("127.0.0.2") == hosts.count("127.0.0.3") == 6


def test_a_run_that_no_handshake_lets_begin_says_why(engine: Engine, ca: str) -> None:
    with (
        engine.server(lambda message: message) as plain,
        pytest.raises(TLSHandshakeError, match="perhaps it does not speak TLS"),
    ):
        measure(engine, plain.addresses[0], tls=True)


def test_connections_that_the_server_refuses_behind_the_handshake_are_counted(
    engine: Engine, tmp_path: Path, ca: str
) -> None:
    """As in TLS 1.3, where the client is done before the server has seen its certificate."""
    files = identity(tmp_path, "127.0.0.1")
    with engine.server(lambda message: message, **files, tls_ca=ca) as server:
        result = measure(engine, server.addresses[0], tls=True, tls_ca=ca)
    assert result.errors == {"tls_error": 6, "unanswered": 6}
    assert result.connect.total == 6
    assert result.messages == 0
