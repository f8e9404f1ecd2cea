"""TLS: handshakes with OpenSSL's and Python's clients, and peers that break them."""

from __future__ import annotations

import contextlib
import math
import os
import select
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import trustme

from epollo import CloseReason, Connection, Server, SettingError, address
from epollo.engine import stages
from epollo.tls import server_context
from tests.certificates import VERSIONS, Files
from tests.clock import Clock
from tests.engines import Engine
from tests.support import DEADLINE, Peer, Recorder, closed, epollo, frame, until


class Secure(Peer):
    """A peer that shook hands."""

    def __init__(
        self,
        to: str,
        context: ssl.SSLContext,
        receive_buffer: int | None = None,
        ragged: bool = True,
    ) -> None:
        super().__init__(to, receive_buffer)
        try:
            self.socket = context.wrap_socket(
                self.socket, server_hostname="localhost", suppress_ragged_eofs=ragged
            )
        except BaseException:
            self.socket.close()
            raise


@pytest.fixture
def server(engine: Engine, files: Files, recorder: Recorder) -> Iterator[Server]:
    with engine.server(recorder, **files.settings) as server:
        yield server


@pytest.mark.parametrize("version", VERSIONS, ids=str)
def test_both_versions_carry_messages(
    server: Server, files: Files, recorder: Recorder, version: ssl.TLSVersion
) -> None:
    context = files.client(version)
    with Secure(server.addresses[0], context) as peer:
        assert [peer.ask(b"message %d" % i) for i in range(3)] == [
            b"message 0",
            b"message 1",
            b"message 2",
        ]
        state = recorder.connection().tls
        assert state is not None
        assert state.version() == {"2": "TLSv1.2", "3": "TLSv1.3"}[version.name[-1]]
    assert recorder.end() is CloseReason.EOF  # of TCP: Python's sockets close without close_notify


def test_the_last_word_of_either_side_is_close_notify(
    server: Server, files: Files, recorder: Recorder
) -> None:
    with Secure(server.addresses[0], files.client()) as peer:
        peer.send(frame(b"last"))
        assert isinstance(peer.socket, ssl.SSLSocket)
        assert peer.receive(8) == frame(b"last")
        peer.socket.unwrap().close()  # raises where the server's close_notify does not come
    assert recorder.end() is CloseReason.EOF


def test_a_server_that_closes_says_close_notify(engine: Engine, files: Files) -> None:
    def closing(message: bytes, connection: Connection) -> bytes:
        connection.close()
        return message

    with (
        engine.server(closing, **files.settings) as server,
        Secure(server.addresses[0], files.client()) as peer,
    ):
        assert isinstance(peer.socket, ssl.SSLSocket)
        peer.send(frame(b"bye"))
        assert peer.receive(7) == frame(b"bye")
        peer.socket.unwrap().close()  # raises where close_notify did not come


@pytest.mark.parametrize("version", VERSIONS, ids=str)
def test_large_messages_pass_both_ways(
    engine: Engine, files: Files, version: ssl.TLSVersion
) -> None:
    context = files.client(version)
    message = bytes(range(256)) * (5 << 12)
    settings: dict[str, Any] = {**files.settings, "max_frame": "8MiB"}
    with (
        engine.server(lambda message: message, **settings) as server,
        Secure(server.addresses[0], context) as peer,
    ):
        for _ in range(2):
            assert peer.ask(message) == message
        peer.send(frame(b"small") * 1000 + frame(message))
        assert peer.receive(9 * 1000) == frame(b"small") * 1000
        assert peer.receive(4 + len(message)) == frame(message)


def test_pushes_from_another_thread_arrive_whole(
    server: Server, files: Files, recorder: Recorder
) -> None:
    with Secure(server.addresses[0], files.client()) as peer:
        connection = recorder.connection()
        for number in range(500):
            connection.send(b"%06d" % number)
        expected = b"".join(frame(b"%06d" % number) for number in range(500))
        assert peer.receive(len(expected)) == expected


def test_openssl_s_client_speaks_with_it(engine: Engine, files: Files) -> None:
    with engine.server(lambda line: line.upper(), framing="line", **files.settings) as server:
        command = ["openssl", "s_client", "-connect", server.addresses[0], "-CAfile", files.ca]
        command += ["-quiet", "-verify_return_error", "-verify_hostname", "localhost"]
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        ) as client:
            assert client.stdin is not None
            assert client.stdout is not None
            watchdog = threading.Timer(DEADLINE, client.kill)
            watchdog.start()
            client.stdin.write(b"hello\n")
            client.stdin.flush()
            assert client.stdout.readline() == b"HELLO\n"
            client.kill()
            watchdog.cancel()
            watchdog.join()


def test_a_clients_certificate_is_asked_for_where_there_is_a_ca(
    engine: Engine, files: Files, recorder: Recorder
) -> None:
    context = files.client()
    files.authority.issue_cert("client.test").configure_cert(context)
    with engine.server(recorder, **files.settings, tls_ca=files.ca) as server:
        with Secure(server.addresses[0], context) as peer:
            assert peer.ask(b"it is me") == b"it is me"
            state = recorder.connection().tls
            assert state is not None
            certificate = state.getpeercert()
            assert certificate is not None
            assert certificate["subjectAltName"] == (("DNS", "client.test"),)
        assert recorder.end() is CloseReason.EOF
        with (
            pytest.raises(ssl.SSLError, match="CERTIFICATE_REQUIRED"),
            Secure(server.addresses[0], files.client()) as stranger,
        ):
            stranger.receive(1)  # in TLS 1.3 it hears of it here
        assert closed(server, CloseReason.TLS_ERROR) == 1
    assert recorder.opened.empty()


def test_a_context_of_ones_own_brings_alpn(
    engine: Engine, files: Files, recorder: Recorder
) -> None:
    ours = server_context(files.cert, files.key)
    ours.set_alpn_protocols(["chat/2", "chat/1"])
    theirs = files.client()
    theirs.set_alpn_protocols(["chat/1"])
    with (
        engine.server(recorder, tls=ours) as server,
        Secure(server.addresses[0], theirs) as peer,
    ):
        assert peer.ask(b"hi") == b"hi"
        state = recorder.connection().tls
        assert state is not None
        assert state.selected_alpn_protocol() == "chat/1"


def test_a_handshake_that_stalls_is_closed_while_others_are_served(
    engine: Engine, files: Files, recorder: Recorder
) -> None:
    with (
        engine.server(recorder, **files.settings, tls_timeout="1s") as server,
        Peer(server.addresses[0]) as stalled,
        Secure(server.addresses[0], files.client()) as other,
    ):
        stalled.send(b"\x16\x03\x01\x02\x00")  # a record's head, and no more
        assert other.ask(b"served") == b"served"
        assert stalled.receive_all() == b""
        assert closed(server, CloseReason.TLS_ERROR) == 1
        assert other.ask(b"still") == b"still"
    assert recorder.opened.qsize() == 1


@pytest.mark.parametrize("garbage", [b"GET / HTTP/1.1\r\n\r\n", frame(b"plain"), bytes(1000)])
def test_what_is_no_tls_is_closed_with_tls_error(
    server: Server, recorder: Recorder, garbage: bytes
) -> None:
    with Peer(server.addresses[0]) as peer:
        peer.send(garbage)
        peer.receive_all()  # an alert, or nothing
    assert closed(server, CloseReason.TLS_ERROR) == 1
    assert recorder.opened.empty()


def test_a_record_that_was_changed_ends_the_connection(
    server: Server, files: Files, recorder: Recorder
) -> None:
    with Secure(server.addresses[0], files.client()) as peer:
        assert peer.ask(b"good") == b"good"
        with socket.socket(fileno=peer.socket.detach()) as raw:
            raw.settimeout(DEADLINE)
            raw.sendall(b"\x17\x03\x03\x00\x20" + bytes(32))
            while raw.recv(1 << 16):
                pass
    assert recorder.end() is CloseReason.TLS_ERROR


def test_an_invalid_header_is_refused_before_its_record_has_come(
    server: Server, files: Files, recorder: Recorder
) -> None:
    client = Memory(files.client())
    with Peer(server.addresses[0]) as peer:
        client.finish(peer, client.shake())
        peer.send(client.seal(b"good") + b"\x00\x00\x00\x40\x00")
        assert recorder.message() == b"good"
        peer.receive_all()
    assert recorder.end() is CloseReason.TLS_ERROR


def hello(files: Files) -> bytes:
    """The first words of a client."""
    return Memory(files.client()).shake()


# A client speaks twice: its hello, and the end of its handshake. The server answers both.
STAGES = [(spoken, part) for spoken in (0, 1) for part in (0.0, 0.01, 0.5, 1.0)]


@pytest.mark.parametrize("answered", [False, True], ids=["at-once", "behind-the-answer"])
@pytest.mark.parametrize("version", VERSIONS, ids=str)
def test_a_reset_at_any_stage_of_the_handshake_gives_the_descriptor_back(
    engine: Engine, files: Files, version: ssl.TLSVersion, answered: bool
) -> None:
    context = files.client(version)
    stages = [stage for stage in STAGES if not answered or stage[1] == 1]
    with engine.server(lambda message: message, **files.settings) as server:
        with Secure(server.addresses[0], context) as other:
            assert other.ask(b"before") == b"before"
            before = descriptors()
            for spoken, part in stages:
                peer = Peer(server.addresses[0])
                client = Memory(context)
                words = client.shake()
                if spoken:
                    peer.send(words)
                    words = client.shake(peer.socket.recv(1 << 16))
                peer.send(words[: math.ceil(part * len(words))])
                if answered:
                    assert peer.socket.recv(1, socket.MSG_PEEK)
                peer.reset()
                until(lambda: server.counters.open == 1 and descriptors() == before)
            assert other.ask(b"after") == b"after"
        until(lambda: not server.counters.open)
        assert server.counters.closed[CloseReason.RESET] == len(stages)


def descriptors() -> int:
    """How many this process has open."""
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208


def test_an_end_before_the_first_byte_is_an_end_and_later_a_fault(
    server: Server, files: Files
) -> None:
    words = hello(files)
    for sent in (b"", words[: len(words) // 2]):
        with Peer(server.addresses[0]) as peer:
            peer.send(sent)
            peer.end()
            peer.receive_all()
    assert closed(server, CloseReason.EOF) == 1
    assert closed(server, CloseReason.TLS_ERROR) == 1


def test_a_stop_does_not_wait_for_a_handshake(engine: Engine, files: Files) -> None:
    with engine.server(lambda message: message, **files.settings) as server:
        with Secure(server.addresses[0], files.client()) as other:
            other.ask(b"served")
        peer = Peer(server.addresses[0])
        peer.send(hello(files)[:50])
    with peer, contextlib.suppress(ConnectionResetError):  # it had not been read to its end
        assert peer.receive_all() == b""


def test_files_that_cannot_be_used_are_named_in_one_line(files: Files, tmp_path: Path) -> None:
    other = trustme.CA().issue_cert("other.test")
    key, empty = str(tmp_path / "other.pem"), str(tmp_path / "empty.pem")
    rsa = str(tmp_path / "rsa.pem")
    other.private_key_pem.write_to_path(key)
    kind = trustme.KeyType.RSA  # the others' is ECDSA
    trustme.CA().issue_cert("rsa.test", key_type=kind).private_key_pem.write_to_path(rsa)
    Path(empty).touch()
    for values, why in (
        ({"tls_cert": "/no/such.pem"}, "tls_cert: cannot read '/no/such.pem': no such file"),
        ({"tls_cert": files.cert, "tls_key": key}, "tls_key: .* is not the key of"),
        ({"tls_cert": files.cert, "tls_key": rsa}, "tls_key: .* is not the key of"),
        ({"tls_cert": files.cert}, "tls_key: there is no key in .*; name the file"),
        ({"tls_cert": empty, "tls_key": key}, "tls_cert: no certificate in"),
        ({**files.settings, "tls_ca": empty}, "tls_ca: no certificate in"),
        ({"tls_key": files.key}, "tls_key: needs tls_cert"),
        (
            {**files.settings, "tls": server_context(files.cert, files.key)},
            "tls_cert: the context given as tls has its own",
        ),
        ({"tls": "yes"}, "'yes' is not an ssl.SSLContext"),
        ({"tls": ssl.create_default_context()}, "tls: it is a context for clients; make one with"),
        ({"tls_timeout": 0}, "tls_timeout: must be more than 0"),
    ):
        with pytest.raises(SettingError, match=why):
            Server(**values)
    done = epollo("serve", "--tls-cert", "/no/such.pem")
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "epollo: error: --tls-cert: cannot read '/no/such.pem': no such file or directory"
    ]


def test_an_address_is_what_the_socket_says(
    server: Server, files: Files, recorder: Recorder
) -> None:
    with Secure(server.addresses[0], files.client()) as peer:
        ours = str(address.of(peer.socket.getsockname()))
        assert recorder.connection().peername == ours


class Memory:
    """A client's TLS in memory: the test has the say over every byte that goes on the wire."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname="localhost")
        self.established = False

    def shake(self, received: bytes = b"") -> bytes:
        """What it says next in the handshake, having ``received`` from the server."""
        self._incoming.write(received)
        with contextlib.suppress(ssl.SSLWantReadError):
            self._tls.do_handshake()
            self.established = True
        return self._outgoing.read()

    def finish(self, peer: Peer, words: bytes = b"") -> None:
        """Shake hands over ``peer``, which is to send ``words`` first."""
        while not self.established:
            peer.send(words)
            words = self.shake(peer.socket.recv(1 << 16))
        peer.send(words)

    def seal(self, message: bytes) -> bytes:
        """``message`` as a record."""
        self._tls.write(frame(message))
        return self._outgoing.read()

    def ask(self, peer: Peer, message: bytes) -> bytes:
        """The message that comes back for ``message``."""
        peer.send(self.seal(message))
        while True:
            try:
                return self._tls.read(1 << 16)[4:]
            except ssl.SSLWantReadError:
                received = peer.socket.recv(1 << 16)
                assert received, "the stream has ended"
                self._incoming.write(received)

    def read_on(self, received: bytes) -> None:
        """Read until there is an alert, which is raised as ssl.SSLError."""
        self._incoming.write(received)
        while self._tls.read(1 << 16):
            pass


BROKEN = b"\x17\x03\x03\x00\x20" + bytes(32)  # a record that was changed on its way


@pytest.mark.parametrize("version", VERSIONS, ids=str)
def test_messages_before_a_broken_record_are_handled_and_the_peer_is_told_why(
    server: Server, files: Files, recorder: Recorder, version: ssl.TLSVersion
) -> None:
    client = Memory(files.client(version))
    with Peer(server.addresses[0]) as peer:
        client.finish(peer, client.shake())
        peer.send(client.seal(b"one") + client.seal(b"two") + BROKEN)
        assert [recorder.message(), recorder.message()] == [b"one", b"two"]
        received = peer.receive_all()
        with pytest.raises(ssl.SSLError, match="ALERT"):
            client.read_on(received)
    assert recorder.end() is CloseReason.TLS_ERROR


class Parting(Recorder):
    """Answers, and closes."""

    def received(self, message: bytes, connection: Connection) -> Any:
        connection.close()
        return super().received(message, connection)


@pytest.mark.parametrize("habit", ["is silent", "goes on sending", "reads nothing"])
def test_a_peer_that_never_closes_is_left_in_the_end(
    engine: Engine, files: Files, habit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its close_notify is not waited for; its stream's end, where a reset could destroy what it
    has not read yet, for so long at most."""
    assert stages.LINGER_SECONDS == 2, "as docs/tls.md says"
    monkeypatch.setattr(stages, "LINGER_SECONDS", 0.2)
    handler = Parting()
    room = 4096 if habit == "reads nothing" else None
    with (
        engine.server(handler, **files.settings) as server,
        Secure(server.addresses[0], files.client(), room) as peer,
    ):
        message = bytes(16_000)
        peer.send(frame(message) + frame(b"unread") * 10)
        if habit == "is silent":
            assert peer.receive(4 + len(message)) == frame(message)
        late = time.monotonic() + DEADLINE
        while habit == "goes on sending" and handler.ends.empty():
            assert time.monotonic() < late
            with contextlib.suppress(OSError):
                peer.send(b"more")
        assert handler.end() is CloseReason.LOCAL
        handler.opened.queue.clear()


def test_a_peer_that_does_not_take_the_last_word_is_left_in_the_end(
    engine: Engine, files: Files
) -> None:
    handler = Parting()
    settings: dict[str, Any] = {**files.settings, "max_frame": "16MiB", "write_timeout": 0.2}
    with (
        engine.server(handler, **settings) as server,
        Secure(server.addresses[0], files.client(), 4096) as peer,
    ):
        peer.send(frame(bytes(12 << 20)))  # more than the kernel's buffers take back
        assert handler.end() is CloseReason.WRITE_TIMEOUT
        handler.opened.queue.clear()


HEADER = b"PROXY TCP4 192.0.2.7 192.0.2.1 5678 443\r\n"


@pytest.mark.parametrize("sent", ["together", "apart", "byte by byte"])
def test_a_proxys_header_comes_before_the_handshake(
    engine: Engine, files: Files, recorder: Recorder, sent: str
) -> None:
    client = Memory(files.client())
    words = client.shake()
    with engine.server(recorder, proxy_protocol="required", **files.settings) as server:
        with Peer(server.addresses[0]) as peer:
            if sent == "apart":
                peer.send(HEADER)
            elif sent == "byte by byte":
                for byte in HEADER + words[:-1]:
                    peer.send(bytes([byte]))
                words = words[-1:]
            client.finish(peer, HEADER + words if sent == "together" else words)
            connection = recorder.connection()
            assert connection.peername == "192.0.2.7:5678"
            assert connection.tls is not None
            assert client.ask(peer, b"hello") == b"hello"
        assert recorder.end() is CloseReason.EOF


def test_where_a_header_and_tls_are_asked_for_each_has_its_own_fault(
    engine: Engine, files: Files, recorder: Recorder
) -> None:
    with engine.server(recorder, proxy_protocol="required", **files.settings) as server:
        for words, reason in (
            (hello(files), CloseReason.PROXY_ERROR),  # no header
            (HEADER + b"GET / HTTP/1.1\r\n\r\n", CloseReason.TLS_ERROR),
        ):
            with Peer(server.addresses[0]) as peer:
                peer.send(words)
                peer.receive_all()  # an alert, or nothing
            assert closed(server, reason) == 1
    assert recorder.opened.empty()


def test_an_idle_peer_is_told_that_it_is_closed_and_a_busy_one_kept(
    engine: Engine, files: Files, recorder: Recorder, clock: Clock
) -> None:
    with (
        engine.server(recorder, idle_timeout="300ms", **files.settings) as server,
        Secure(server.addresses[0], files.client()) as busy,
        Secure(server.addresses[0], files.client(), ragged=False) as idle,
    ):
        idle.socket.settimeout(0.001)
        late = time.monotonic() + DEADLINE
        while is_open(idle):
            assert time.monotonic() < late
            assert busy.ask(b"busy") == b"busy"
            clock.tick()
        assert recorder.end() is CloseReason.IDLE_TIMEOUT
        assert busy.ask(b"still here") == b"still here"


def is_open(peer: Peer) -> bool:
    """Has no close_notify come? Raises ssl.SSLEOFError where the stream ended without."""
    try:
        return bool(peer.socket.recv(1))
    except TimeoutError:
        return True


def test_many_idle_peers_are_kept_and_served_later(engine: Engine, files: Files) -> None:
    context = files.client()
    with engine.server(lambda message: message, **files.settings) as server, ExitStack() as peers:
        idle = [peers.enter_context(Secure(server.addresses[0], context)) for _ in range(100)]
        with Secure(server.addresses[0], context) as busy:
            for number in range(100):
                assert busy.ask(b"%d" % number) == b"%d" % number
        assert server.counters.open >= 100
        for number, peer in enumerate(idle):
            assert peer.ask(b"%d" % number) == b"%d" % number


@pytest.mark.parametrize("habit", ["sends a byte at a time", "sends one byte and no more"])
def test_the_time_for_a_frame_begins_with_the_first_byte_of_its_record(
    engine: Engine, files: Files, habit: str
) -> None:
    client = Memory(files.client())
    with (
        engine.server(lambda message: message, frame_timeout=0.2, **files.settings) as server,
        Peer(server.addresses[0]) as peer,
    ):
        client.finish(peer, client.shake())
        remainder = iter(client.seal(bytes(16_000)))
        peer.send(bytes([next(remainder)]))
        for _ in range(3):  # the server's own clock: the time of a frame has passed, thrice
            with Secure(server.addresses[0], files.client()) as late:
                late.send(b"\0")
                late.socket.settimeout(0.001)
                while is_open(late):
                    if habit == "sends a byte at a time":
                        send_if_open(peer, bytes([next(remainder)]))
        assert has_ended(peer)


def send_if_open(peer: Peer, data: bytes) -> None:
    with contextlib.suppress(ConnectionError):
        peer.send(data)


def has_ended(peer: Peer) -> bool:
    """Has the server closed ``peer``? What it sent before, such as session tickets, is skipped."""
    peer.socket.setblocking(False)
    try:
        while peer.socket.recv(1 << 16):
            pass
    except BlockingIOError:
        return False
    except ConnectionError:
        pass
    return True


def test_a_message_larger_than_max_unsent_reaches_a_peer_that_reads(
    engine: Engine, files: Files
) -> None:
    large = bytes(range(256)) * (32 << 10)  # 8 MiB: the kernel's buffers take less
    settings: dict[str, Any] = {"max_frame": "16MiB", "max_unsent": "1MiB", **files.settings}
    with (
        engine.server(lambda message: message or large, **settings) as server,
        Secure(server.addresses[0], files.client()) as peer,
        Secure(server.addresses[0], files.client()) as other,
    ):
        peer.send(frame(b""))
        assert select.select([peer.socket], [], [], DEADLINE)[0]
        assert other.ask(b"turn") == b"turn"
        whole = peer.receive(4 + len(large)) == frame(large)
    assert whole
