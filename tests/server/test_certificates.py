"""Certificates by name, and their files read anew while clients come: with ``openssl s_client``."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trustme

import epollo
from epollo import CloseReason, Connection, Server, SettingError, Settings
from epollo.engine import new_loop
from epollo.server import certificates
from epollo.server.log_limiter import LogLimiter
from epollo.tls import server_context
from tests.certificates import Issued, Pair, authority, encrypt, leaf_in, revocations, trusting
from tests.engines import Engine
from tests.logs import Log
from tests.support import DEADLINE, serving, until


def answer(message: bytes, connection: Connection) -> bytes:
    """What the application protocol is, and the end: ``openssl s_client`` ends with it."""
    connection.close()
    assert connection.tls is not None
    return b"%s by %s" % (message, str(connection.tls.selected_alpn_protocol()).encode())


def s_client(address: str, *options: str) -> str:
    """What ``openssl s_client`` prints: the server's certificate, and its answer to a line."""
    command = ["openssl", "s_client", "-connect", address, "-ign_eof", *options]
    run = subprocess.run(
        command, input="hello\n", capture_output=True, text=True, timeout=DEADLINE, check=False
    )
    return run.stdout + run.stderr


def served(address: str, name: str, *options: str) -> str:
    """The certificate that a client gets which asks for ``name``; it is answered."""
    names = ["-servername", name] if name else ["-noservername"]
    text = s_client(address, *names, *options)
    assert "hello by" in text
    return leaf_in(text)


def until_served(address: str, name: str, cert: str) -> None:
    until(lambda: served(address, name) == cert)


def until_refused(server: Server, count: int) -> None:
    until(lambda: server.counters.closed[CloseReason.TLS_ERROR] == count)


def line_server(engine: Engine, **settings: Any) -> Server:
    return engine.server(answer, framing="line", **settings)


@pytest.fixture
def one(tmp_path: Path) -> Pair:
    return Pair(tmp_path, "one", "one.test", "both.test", "x.wild.test", "127.0.0.1")


@pytest.fixture
def two(tmp_path: Path) -> Pair:
    return Pair(tmp_path, "two", "two.test", "both.test", "*.wild.test")


def files_of(*pairs: Pair) -> dict[str, Any]:
    return {"tls_cert": [pair.cert for pair in pairs], "tls_key": [pair.key for pair in pairs]}


# -- By name


@pytest.mark.parametrize("together", [False, True], ids=["key-apart", "key-in-the-same-file"])
def test_a_client_gets_the_certificate_for_the_name_it_asks_for(
    engine: Engine, one: Pair, two: Pair, together: bool
) -> None:
    settings = files_of(one, two)
    if together:
        for pair in (one, two):
            pair.cert.write_bytes(pair.key.read_bytes() + pair.cert.read_bytes())
        del settings["tls_key"]
    first, second = (leaf_in(pair.cert.read_text()) for pair in (one, two))
    with line_server(engine, **settings) as server:
        (where,) = server.addresses
        for version in ("-tls1_2", "-tls1_3"):
            for name, cert in {
                "one.test": first,
                "two.test": second,
                "TWO.Test": second,
                "a.wild.test": second,
                "x.wild.test": first,  # an exact name goes before another one's wildcard
                "a.b.wild.test": first,  # a wildcard covers one label
                "wild.test": first,
                "both.test": first,  # the first that has the name
                "unknown.test": first,
                "": first,
            }.items():
                assert served(where, name, version) == cert, name


def test_a_server_name_that_is_not_ascii_is_one_line_in_the_log(
    engine: Engine, one: Pair, two: Pair
) -> None:
    options = [
        f"--tls-{what}={getattr(pair, what)}" for pair in (one, two) for what in ("cert", "key")
    ]
    with serving(*engine.flags, "--framing", "line", *options) as server:
        text = s_client(server.address, "-servername", os.fsdecode(b"b\xff.test"))
        assert "no peer certificate available" in text
        until(lambda: server.log)
        (line,) = server.log
        assert "tls_error: TLS handshake: the server name is not ASCII" in line


# -- What a handshake may agree on


def test_the_server_chooses_the_application_protocol(engine: Engine, one: Pair) -> None:
    with line_server(engine, tls_alpn="two, one", **files_of(one)) as server:
        (where,) = server.addresses
        for offered, chosen in (
            (["-alpn", "one,two"], "two"),
            (["-alpn", "three,one"], "one"),
            (["-alpn", "three"], "None"),  # Python has no way to refuse
            ([], "None"),
        ):
            text = s_client(where, *offered)
            assert f"hello by {chosen}" in text
            assert f"ALPN protocol: {chosen}" in text or "No ALPN negotiated" in text


def test_each_certificate_has_the_same_application_protocols(
    engine: Engine, one: Pair, two: Pair
) -> None:
    with line_server(engine, tls_alpn=("h2",), **files_of(one, two)) as server:
        for name in ("one.test", "two.test"):
            text = s_client(server.addresses[0], "-servername", name, "-alpn", "h2")
            assert "hello by h2" in text


@pytest.mark.parametrize(
    ("settings", "offered", "accepted"),
    [
        ({}, "-tls1_2", True),
        ({}, "-tls1_1", False),
        ({"tls_min_version": "1.3"}, "-tls1_3", True),
        ({"tls_min_version": 1.3}, "-tls1_2", False),
    ],
)
def test_a_version_under_the_lowest_is_refused(
    engine: Engine, one: Pair, two: Pair, settings: dict[str, Any], offered: str, accepted: bool
) -> None:
    with line_server(engine, **settings, **files_of(one, two)) as server:
        for number, name in enumerate(("one.test", "two.test"), 1):
            weak = "ALL:@SECLEVEL=0"  # at which OpenSSL's client still speaks TLS 1.1
            text = s_client(server.addresses[0], offered, "-cipher", weak, "-servername", name)
            assert ("hello by" in text) == accepted
            assert ("alert protocol version" in text) != accepted
            if not accepted:
                until_refused(server, number)


def test_ciphers_are_those_for_tls_1_2(engine: Engine, one: Pair) -> None:
    name = "ECDHE-ECDSA-CHACHA20-POLY1305"
    with line_server(engine, tls_ciphers=name, **files_of(one)) as server:
        assert f"Cipher is {name}" in s_client(server.addresses[0], "-tls1_2")
        text = s_client(server.addresses[0], "-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256")
        assert "handshake failure" in text
        assert "Cipher is TLS_" in s_client(server.addresses[0], "-tls1_3")
    with pytest.raises(SettingError, match=r"^tls_ciphers: 'NONE-SUCH' names no cipher"):
        Server(tls_ciphers="NONE-SUCH", **files_of(one))
    with pytest.raises(SettingError, match=r"^tls_ciphers: is for TLS 1\.2, and"):
        Server(tls_ciphers=name, tls_min_version="1.3", **files_of(one))


# -- Certificates of clients


class Clients:
    """A server's settings for client certificates, and the options of clients that have some."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority = trustme.CA()
        self.crl = folder / "crl.pem"
        ca = folder / "clients.pem"
        ca.write_bytes(self.authority.cert_pem.bytes())
        self.settings: dict[str, Any] = {"tls_ca": ca}

    def issue(self, name: str, by: trustme.CA | None = None) -> list[str]:
        """The options of a client that has a new certificate."""
        cert, key = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        Issued((by or self.authority).issue_cert(f"{name}.test")).write(cert, key)
        return ["-cert", str(cert), "-key", str(key)]

    def revoke(self, *names: str) -> None:
        """Write a new list of all that are revoked."""
        revoked = [(self.folder / f"{name}.pem").read_bytes() for name in names]
        self.crl.write_bytes(revocations(self.authority, *revoked))


@pytest.fixture
def clients(tmp_path: Path) -> Clients:
    return Clients(tmp_path)


VERSIONS = pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])


@VERSIONS
@pytest.mark.parametrize("wanted", ["required", "optional"])
def test_a_clients_certificate_is_required_or_optional(
    engine: Engine, one: Pair, two: Pair, clients: Clients, wanted: str, version: str
) -> None:
    settings = files_of(one, two) | clients.settings | {"tls_client_certs": wanted}
    known, strange = clients.issue("known"), clients.issue("strange", by=trustme.CA())
    with line_server(engine, **settings) as server:
        (where,) = server.addresses
        for name in ("one.test", "two.test"):
            choose = ["-servername", name, version]
            assert "hello by" in s_client(where, *choose, *known)
            assert ("hello by" in s_client(where, *choose)) == (wanted == "optional")
            assert "hello by" not in s_client(where, *choose, *strange)
        refused = 2 if wanted == "optional" else 4
        until_refused(server, refused)


@VERSIONS
def test_a_revoked_client_is_refused_and_a_new_list_is_read(
    engine: Engine,
    one: Pair,
    two: Pair,
    clients: Clients,
    version: str,
    watched_often: None,
) -> None:
    bad, good = clients.issue("bad"), clients.issue("good")
    clients.revoke("bad")
    settings = files_of(one, two) | clients.settings | {"tls_crl": clients.crl}
    with line_server(engine, **settings) as server:
        (where,) = server.addresses
        for name in ("one.test", "two.test"):
            choose = ["-servername", name, version]
            assert "certificate revoked" in s_client(where, *choose, *bad)
            assert "hello by" in s_client(where, *choose, *good)
        until_refused(server, 2)
        clients.revoke("bad", "good")
        until(lambda: "certificate revoked" in s_client(where, version, *good))
        clients.revoke("bad")
        until(lambda: "hello by" in s_client(where, version, *good))


# -- Keys with a password


@pytest.mark.parametrize("traditional", [False, True], ids=["PKCS8", "SEC1"])
def test_an_encrypted_key_is_opened_with_the_password_in_a_file(
    engine: Engine, one: Pair, two: Pair, tmp_path: Path, traditional: bool
) -> None:
    encrypt(two.key, two.key, "open: sesame", traditional)
    password = tmp_path / "password"
    password.write_text("open: sesame\nsomething else\n")
    with line_server(engine, tls_key_password_file=password, **files_of(one, two)) as server:
        assert served(server.addresses[0], "two.test") == leaf_in(two.cert.read_text())
    for text, why in (
        ("wrong\n", "^tls_key_password_file: the first line of '.*' is not the password of '.*two"),
        ("", "^tls_key_password_file: the first line of '.*' is not the password of '.*two"),
        ("x" * 1025, "^tls_key_password_file: '.*': password cannot be longer than 1024"),
    ):
        password.write_text(text)
        with pytest.raises(SettingError, match=why):
            Server(tls_key_password_file=password, **files_of(one, two))
    password.unlink()
    with pytest.raises(SettingError, match=r"^tls_key_password_file: cannot read"):
        Server(tls_key_password_file=password, **files_of(one, two))
    with pytest.raises(SettingError, match=r"^tls_key: the key is encrypted; give tls_key_pass"):
        Server(**files_of(one, two))


# -- Files that cannot be used


def test_a_mistake_with_several_files_is_one_line(
    one: Pair, two: Pair, clients: Clients, tmp_path: Path
) -> None:
    nameless = Pair(tmp_path, "nameless", "127.0.0.1")
    again = Pair(tmp_path, "again", "one.test", "TWO.test")
    clients.issue("some")
    clients.revoke("some")
    crl, ca = clients.crl, clients.settings["tls_ca"]
    for values, why in (
        (
            {"tls_cert": [one.cert, two.cert], "tls_key": one.key},
            "tls_key: there are 2 of tls_cert and 1 of tls_key; give one key for each",
        ),
        (
            {"tls_cert": one.cert, "tls_key": [one.key, two.key]},
            "tls_key: there are 1 of tls_cert and 2 of tls_key; give one key for each",
        ),
        (
            {"tls_cert": [one.cert, two.cert], "tls_key": [two.key, one.key]},
            "tls_key: '.*two.key' is not the key of the certificate in '.*one.pem'",
        ),
        (files_of(one, nameless), "tls_cert: '.*nameless.pem' has no DNS name"),
        (files_of(one, two, again), "tls_cert: every name in '.*again.pem' is in an earlier"),
        ({"tls_crl": crl, **files_of(one)}, "tls_crl: needs tls_ca; give"),
        (
            {"tls_ca": ca, "tls_crl": ca, **files_of(one)},
            "tls_crl: no certificate revocation list in '.*'; it must be PEM",
        ),
        (
            {"tls_ca": crl, **files_of(one)},
            "tls_ca: no certificate in '.*'; it must be PEM",
        ),
        (
            {"tls_ca": ca, "tls_crl": one.key, **files_of(one)},
            "tls_crl: no certificate revocation list in '.*'; it must be PEM",
        ),
        ({"tls_cert": 5}, "tls_cert: 5 is not a file such as 'cert.pem', nor a list of them"),
        ({"tls_alpn": "h2"}, "tls_alpn: needs tls_cert; give that too"),
        ({"tls_alpn": "h2,,h3", **files_of(one)}, "tls_alpn: '' is not a protocol such as 'h2'"),
        ({"tls_alpn": 2, **files_of(one)}, "tls_alpn: "),
        ({"tls_alpn": [2], **files_of(one)}, r"tls_alpn: \[2\] is not a text such as"),
        ({"tls_alpn": "x" * 256, **files_of(one)}, "tls_alpn: 'x*' is not a protocol"),
        ({"tls_alpn": "\u00fc", **files_of(one)}, "tls_alpn: '\u00fc' is not a protocol"),
        ({"tls_min_version": "1.1", **files_of(one)}, r"tls_min_version: '1\.1' is not one of 1"),
        ({"tls_client_certs": "no", **files_of(one)}, "tls_client_certs: 'no' is not one of req"),
    ):
        with pytest.raises(SettingError, match=f"^{why}"):
            Server(**values)
    Server(**files_of(nameless, one))  # the first one is for clients without a name


# -- Files that change


@pytest.fixture
def watched_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(certificates, "PERIOD", 0.05)


def written_in_place(pair: Pair, new: Issued) -> None:
    new.write(pair.cert, pair.key)


def replaced(pair: Pair, new: Issued) -> None:
    for file, text in ((pair.cert, new.cert), (pair.key, new.key)):
        other = file.with_suffix(".new")
        other.write_bytes(text)
        other.rename(file)


def copied_with_its_time(pair: Pair, new: Issued) -> None:
    for file, text in ((pair.cert, new.cert), (pair.key, new.key)):
        before = file.stat()
        file.write_bytes(text)
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def key_first_and_later_the_certificate(pair: Pair, new: Issued) -> None:
    pair.key.write_bytes(new.key)
    pair.cert.write_bytes(new.cert[:100])
    pair.cert.write_bytes(new.cert)


@pytest.mark.parametrize(
    "change",
    [written_in_place, replaced, copied_with_its_time, key_first_and_later_the_certificate],
)
@pytest.mark.usefixtures("watched_often")
def test_a_certificate_that_changes_on_disk_is_served(
    engine: Engine, one: Pair, two: Pair, change: Callable[[Pair, Issued], None], log: Log
) -> None:
    with line_server(engine, **files_of(one, two)) as server:
        (where,) = server.addresses
        for pair, name in ((one, "one.test"), (two, "two.test")):
            new = pair.issue()
            assert served(where, name) != new.leaf
            change(pair, new)
            until_served(where, name, new.leaf)
        # A look between two writes may find a pair that does not fit together.
        assert all("is not the key of" in line or "PEM" in line for line in log.take())


@pytest.mark.usefixtures("watched_often")
def test_a_link_to_a_directory_may_change_as_kubernetes_does_it(
    engine: Engine, one: Pair, tmp_path: Path
) -> None:
    data = tmp_path / "..data"
    issued = [one.issue() for _ in range(3)]
    for number, each in enumerate(issued):
        (tmp_path / f"..{number}").mkdir()
        each.write(tmp_path / f"..{number}/tls.crt", tmp_path / f"..{number}/tls.key")
    data.symlink_to("..0")
    for name in ("tls.crt", "tls.key"):
        (tmp_path / name).symlink_to(f"..data/{name}")
    settings = {"tls_cert": tmp_path / "tls.crt", "tls_key": tmp_path / "tls.key"}
    with line_server(engine, **settings) as server:
        assert served(server.addresses[0], "") == issued[0].leaf
        for number in (1, 2):
            (tmp_path / "..data_tmp").symlink_to(f"..{number}")
            (tmp_path / "..data_tmp").rename(data)
            new = issued[number].leaf
            until_served(server.addresses[0], "", new)


def until_anew(server: Server, former: object) -> None:
    """Wait for another context than ``former``."""
    until(lambda: server._protocol.certificates.context is not former)


@pytest.mark.usefixtures("watched_often")
def test_connections_go_on_with_the_certificate_they_began_with(
    engine: Engine, one: Pair, two: Pair
) -> None:
    with engine.server(lambda message: message, **files_of(one, two)) as server:
        context = server._protocol.certificates.context
        assert context is not None
        before = weakref.ref(context)
        del context
        for name in ("one.test", "two.test"):
            with epollo.connect(
                server.addresses[0], tls=trusting(), server_hostname=name
            ) as client:
                assert client.request(b"before") == b"before"
                former = server._protocol.certificates.context
                replaced(two, two.issue())
                until_anew(server, former)
                del former
                assert client.request(b"after") == b"after"
        until(lambda: before() is None)  # no context outlives its connections


BROKEN: dict[str, tuple[Callable[[Pair], object], str]] = {
    "another key": (lambda pair: pair.key.write_bytes(pair.issue().key), "is not the key of"),
    "half a certificate": (
        lambda pair: pair.cert.write_bytes(pair.cert.read_bytes()[:300]),
        "both must be PEM",
    ),
    "an empty file": (lambda pair: pair.cert.write_bytes(b""), "no certificate in"),
    "no file": (lambda pair: pair.key.unlink(), "tls_key: cannot read"),
}


@pytest.mark.parametrize("fault", BROKEN)
@pytest.mark.usefixtures("watched_often")
def test_files_that_cannot_be_used_leave_the_certificates_from_before(
    engine: Engine, one: Pair, two: Pair, fault: str, log: Log
) -> None:
    break_it, why = BROKEN[fault]
    with line_server(engine, **files_of(one, two)) as server:
        (where,) = server.addresses
        before = served(where, "two.test")
        break_it(two)
        until(lambda: log.records)
        for _ in range(3):
            assert served(where, "two.test") == before
        (line,) = log.take()  # once, and not at every look
        assert re.search(why, line)
        assert line.endswith("; new connections still get the certificates from before")
        new = two.issue()
        new.write(two.cert, two.key)
        until_served(where, "two.test", new.leaf)


@pytest.mark.usefixtures("watched_often")
def test_what_failed_is_tried_again_though_no_file_changes(
    engine: Engine, one: Pair, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when there was no descriptor left to open it with."""
    monkeypatch.setattr(certificates, "RETRY", 0.1)
    fails = [True]

    def context(*files: Any, **options: Any) -> Any:
        if fails:
            raise SettingError("tls_cert: cannot read 'one.pem': too many open files")
        return server_context(*files, **options)

    with line_server(engine, **files_of(one)) as server:
        monkeypatch.setattr(certificates, "server_context", context)
        new = one.issue()
        replaced(one, new)
        until(lambda: log.records)
        fails.clear()
        until_served(server.addresses[0], "", new.leaf)
        assert set(log.take()) == {log_line("tls_cert: cannot read 'one.pem': too many open files")}


@pytest.mark.usefixtures("watched_often")
def test_what_worked_is_not_read_again(
    engine: Engine, one: Pair, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(certificates, "RETRY", 0.001)
    with line_server(engine, **files_of(one)) as server:
        one.cert.write_bytes(b"")
        until(lambda: log.records)
        new = one.issue()
        replaced(one, new)
        until_served(server.addresses[0], "", new.leaf)
        context = server._protocol.certificates.context
        looks: list[list[str]] = []
        states = certificates._states

        def counted(files: list[str]) -> Any:
            looks.append(files)
            return states(files)

        monkeypatch.setattr(certificates, "_states", counted)
        until(lambda: len(looks) > 5)
        assert server._protocol.certificates.context is context
        log.take()


def test_a_file_that_has_just_changed_is_given_time(one: Pair) -> None:
    """It may be half-written, or its key may come later."""
    watched = certificates.Certificates(Settings(**files_of(one)), LogLimiter())
    loop = new_loop("python")
    watched.begin(loop)
    former, new = watched.context, one.issue()
    one.cert.write_bytes(new.cert[:200])
    watched._look()
    one.cert.write_bytes(new.cert)
    watched._look()
    one.key.write_bytes(new.key)
    watched._look()
    assert watched.context is former
    watched._look()
    assert watched.context is not former
    loop.close()


def log_line(error: str) -> str:
    return f"{error}; new connections still get the certificates from before"


@pytest.mark.usefixtures("watched_often")
def test_a_file_that_never_stops_changing_is_read_in_the_end(
    engine: Engine, one: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(certificates, "MOST_UNSETTLED", 0.3)
    counts = iter(range(1 << 30))
    monkeypatch.setattr(certificates, "_state", lambda _: (next(counts),))
    with line_server(engine, **files_of(one)) as server:
        new = one.issue()
        replaced(one, new)
        until_served(server.addresses[0], "", new.leaf)


def test_files_are_read_at_once_on_request(
    engine: Engine, one: Pair, monkeypatch: pytest.MonkeyPatch, log: Log
) -> None:
    monkeypatch.setattr(certificates, "PERIOD", 10 * DEADLINE)
    with line_server(engine, **files_of(one)) as server:
        new = one.issue()
        replaced(one, new)
        server.reload_certificates()
        until_served(server.addresses[0], "", new.leaf)
        one.cert.unlink()
        server.reload_certificates()
        until(lambda: log.records)
        assert served(server.addresses[0], "") == new.leaf
        (line,) = log.take()
        assert line.startswith("tls_cert: cannot read")
    newest = one.issue()
    newest.write(one.cert, one.key)
    server.reload_certificates()  # not running
    with server:
        assert served(server.addresses[0], "") == newest.leaf


@pytest.mark.usefixtures("watched_often")
def test_files_are_watched_with_async_handlers(engine: Engine, one: Pair) -> None:
    async def later(message: bytes, connection: Connection) -> bytes:
        return answer(message, connection)

    with engine.server(later, framing="line", loop="asyncio", **files_of(one)) as server:
        new = one.issue()
        replaced(one, new)
        until_served(server.addresses[0], "", new.leaf)


def test_files_that_changed_before_the_start_are_served(
    engine: Engine, one: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that is forked later begins with the certificates of that time."""
    monkeypatch.setattr(certificates, "PERIOD", 10 * DEADLINE)
    server = line_server(engine, **files_of(one))
    new = one.issue()
    replaced(one, new)
    with server:
        assert served(server.addresses[0], "") == new.leaf


@pytest.mark.usefixtures("watched_often")
def test_paths_are_those_from_where_the_server_was_made(
    engine: Engine, one: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = {"tls_cert": one.cert.name, "tls_key": one.key.name}
    with line_server(engine, **settings) as server:
        (tmp_path / "elsewhere").mkdir()
        monkeypatch.chdir(tmp_path / "elsewhere")
        new = one.issue()
        replaced(one, new)
        until_served(server.addresses[0], "", new.leaf)


def test_a_context_of_ones_own_and_a_server_without_tls_have_no_files(
    engine: Engine, one: Pair
) -> None:
    context = server_context(str(one.cert), str(one.key))
    with line_server(engine, tls=context) as server:
        before = served(server.addresses[0], "")
        replaced(one, one.issue())
        server.reload_certificates()
        assert served(server.addresses[0], "") == before
    with engine.server(lambda message: message) as server:
        server.reload_certificates()


@VERSIONS
@pytest.mark.usefixtures("watched_often")
def test_a_session_from_before_is_not_resumed_and_its_client_is_served(
    engine: Engine, one: Pair, two: Pair, tmp_path: Path, version: str
) -> None:
    """A new context has new ticket keys, so that a new list of revoked clients holds for all."""
    session = str(tmp_path / "session")
    with line_server(engine, **files_of(one, two)) as server:
        (where,) = server.addresses
        names = ["-servername", "two.test", version]
        assert "New, TLSv1" in s_client(where, *names, "-sess_out", session)
        text = s_client(where, *names, "-sess_in", session)
        assert "Reused, TLSv1" in text
        assert "hello by" in text
        new = two.issue()
        replaced(two, new)
        until_served(where, "two.test", new.leaf)
        text = s_client(where, *names, "-sess_in", session)
        assert "New, TLSv1" in text
        assert "hello by" in text


# -- Under load


def test_certificates_are_replaced_under_load_and_no_connection_is_lost(
    engine: Engine, one: Pair, two: Pair, tmp_path: Path
) -> None:
    ca, result = tmp_path / "ca.pem", tmp_path / "result.json"
    ca.write_bytes(authority().cert_pem.bytes())
    options = ["--tls-cert", one.cert, "--tls-key", one.key, "--tls-cert", two.cert]
    options += ["--tls-key", two.key]
    with serving(*engine.flags, *map(str, options)) as server:
        load = ["--tls", "--tls-ca", str(ca), "--server-name", "two.test", "--json", str(result)]
        load += ["-c", "8", "-d", "1h", "--warmup", "0s", "--reconnect-every", "3", "-q"]
        command = [sys.executable, "-m", "epollo", "bench", server.address, *load]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as bench:
            try:
                until(lambda: established(server.address))
                for _ in range(3):
                    new = two.issue()
                    replaced(two, new)
                    until_seen(server.address, "two.test", new.leaf)
                bench.send_signal(signal.SIGTERM)
                output, _ = bench.communicate(timeout=DEADLINE)
            finally:
                bench.kill()
        figures = json.loads(result.read_text())
        assert figures["messages"] == figures["sent"] > 0, output
        assert figures["connections"]["lost"] == 0
        assert figures["connections"]["opened"] > 30
        assert not any(figures["errors"].values())
        assert [line for line in server.log if "INFO TLS: read" not in line] == []
        assert server.log


def until_seen(address: str, name: str, cert: str) -> None:
    until(lambda: leaf_in(look(address, name)) == cert)


def look(address: str, name: str) -> str:
    """The handshake alone, with a server of frames."""
    command = ["openssl", "s_client", "-connect", address, "-servername", name]
    run = subprocess.run(
        command, input="", capture_output=True, text=True, timeout=DEADLINE, check=False
    )
    return run.stdout


def established(address: str) -> bool:
    """Does a load run against ``address``?"""
    port = f":{int(address.rpartition(':')[2]):04X}"
    rows = Path("/proc/net/tcp").read_text().splitlines()[1:]
    return any(row.split()[1].endswith(port) and row.split()[3] == "01" for row in rows)
