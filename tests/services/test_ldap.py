"""ldapsearch and other programs of OpenLDAP read the directory, with StartTLS."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest

from epollo import address
from tests.certificates import Files
from tests.engines import Engine
from tests.services.support import client, complaints, example
from tests.support import DEADLINE, Peer, ServerProcess

pytestmark = pytest.mark.services

READER = ("-D", "cn=reader,dc=example,dc=org", "-w", "secret")
EVERYTHING = ("-b", "dc=example,dc=org")
ALL_NAMES = [
    "dc=example,dc=org",
    "ou=people,dc=example,dc=org",
    "uid=ann,ou=people,dc=example,dc=org",
    "uid=bob,ou=people,dc=example,dc=org",
]
START_TLS = bytes.fromhex("301d02010177188016") + b"1.3.6.1.4.1.1466.20037"
TLS_AGREED = bytes.fromhex("300c02010178070a010004000400")


@pytest.fixture
def server(engine: Engine, files: Files) -> Iterator[ServerProcess]:
    tls = ("--tls-cert", files.cert, "--tls-key", files.key, "--tls-start", "handler")
    with example(engine, "ldap:Directory", "--framing", "ldap", *tls) as server:
        yield server
        assert complaints(server) == []


def ask(
    server: ServerProcess, files: Files, *arguments: str, program: str = "ldapsearch"
) -> subprocess.CompletedProcess[str]:
    where = f"ldap://127.0.0.1:{address.parse(server.address).port}"
    return subprocess.run(
        [client(program, "ldap-utils"), "-x", "-H", where, *arguments],
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
        env={"LDAPTLS_CACERT": files.ca, "LDAPCONF": "/dev/null"},
    )


def names(asked: subprocess.CompletedProcess[str]) -> list[str]:
    lines = asked.stdout.splitlines()
    return [line.removeprefix("dn: ") for line in lines if line.startswith("dn: ")]


@pytest.mark.parametrize(
    ("condition", "found"),
    [
        ("(objectClass=*)", ALL_NAMES),
        ("(uid=ann)", ALL_NAMES[2:3]),
        ("(UID=ANN)", ALL_NAMES[2:3]),
        ("(|(uid=ann)(mail=bob@*))", ALL_NAMES[2:]),
        ("(&(uid=*)(!(cn=*li*)))", ALL_NAMES[3:]),
        ("(mail=*@exam*.org)", ALL_NAMES[2:]),
        ("(mail=*@org)", []),
        ("(cn=Bob Öz)", ALL_NAMES[3:]),
        ("(uid>=ann)", []),
        (f"{'(!' * 20}(uid=ann){')' * 20}", ALL_NAMES[2:3]),
    ],
)
def test_a_search_finds_what_its_filter_says(
    server: ServerProcess, files: Files, condition: str, found: list[str]
) -> None:
    asked = ask(server, files, "-ZZ", *READER, *EVERYTHING, condition)
    assert (asked.returncode, names(asked)) == (0, found), asked.stderr


@pytest.mark.parametrize(
    ("flags", "found", "code"),
    [
        (("-s", "base"), ALL_NAMES[:1], 0),
        (("-s", "one"), ALL_NAMES[1:2], 0),
        (("-s", "sub"), ALL_NAMES, 0),
        (("-z", "3"), ALL_NAMES[:3], 4),
        (("-z", "4"), ALL_NAMES, 0),
        (("-b", "ou=people, dc=Example, dc=org", "-s", "one"), ALL_NAMES[2:], 0),
        (("-b", "dc=nowhere"), [], 32),
    ],
)
def test_scopes_and_limits(
    server: ServerProcess, files: Files, flags: tuple[str, ...], found: list[str], code: int
) -> None:
    asked = ask(server, files, "-ZZ", *READER, *EVERYTHING, *flags)
    assert (asked.returncode, names(asked)) == (code, found), asked.stderr


def test_attributes_are_those_asked_for(server: ServerProcess, files: Files) -> None:
    ann = ("-LLL", "-ZZ", *READER, *EVERYTHING, "(uid=ann)")
    mails = "mail: ann@example.org\nmail: li@example.org\n"
    asked = ask(server, files, *ann, "MAIL", "nothing")
    assert asked.stdout == f"dn: {ALL_NAMES[2]}\n{mails}\n"
    assert ask(server, files, *ann, "1.1").stdout == f"dn: {ALL_NAMES[2]}\n\n"
    assert ask(server, files, *ann, "-A", "cn").stdout == f"dn: {ALL_NAMES[2]}\ncn:\n\n"


def test_a_password_needs_tls_and_to_be_right(server: ServerProcess, files: Files) -> None:
    assert ask(server, files, *READER, *EVERYTHING).returncode == 13  # confidentialityRequired
    wrong = (*READER[:3], "wrong")
    assert ask(server, files, "-ZZ", *wrong, *EVERYTHING).returncode == 49  # invalidCredentials
    assert ask(server, files, "-ZZ", *EVERYTHING).returncode == 50  # insufficientAccessRights
    assert ask(server, files, "-ZZ", *READER, *EVERYTHING).returncode == 0


def test_nothing_is_written(server: ServerProcess, files: Files) -> None:
    asked = ask(server, files, "-ZZ", *READER, ALL_NAMES[2], program="ldapdelete")
    assert asked.returncode == 53
    assert "only read" in asked.stderr


def test_plain_bytes_behind_start_tls_end_it(server: ServerProcess, files: Files) -> None:
    """CVE-2011-0411's kind: an unbind that anyone put there is not taken for the client's."""
    with Peer(server.address) as peer:
        peer.send(START_TLS)
        assert peer.receive(len(TLS_AGREED)) == TLS_AGREED
    with Peer(server.address) as peer:
        peer.send(START_TLS + b"\x30\x05\x02\x01\x02\x42\x00")
        assert peer.receive_until_gone() in (b"", TLS_AGREED)
    assert ask(server, files, "-ZZ", *READER, *EVERYTHING).returncode == 0
