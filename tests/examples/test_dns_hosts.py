"""DNS from a hosts file, asked by dnspython and by dig."""

from __future__ import annotations

import shutil
import socket
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import dns.edns
import dns.flags
import dns.message
import dns.query
import dns.rcode
import dns.rdatatype
import pytest

from epollo import address
from examples.dns_hosts import Hosts
from tests.examples.support import both_ways, example
from tests.interop.support import absent
from tests.support import DEADLINE, ServerProcess

HOSTS = """\
127.0.0.1       localhost   # comments end a line
::1             localhost ip6-localhost

192.0.2.10      Web.example.com web www
192.0.2.11      web.example.com
192.0.2.11      web.example.com
2001:db8::10    web.example.com
fe80::1%lo0     scoped.example.com
192.0.2.300     nobody.example.com
"""


@pytest.fixture
def hosts(tmp_path: Path) -> Hosts:
    (tmp_path / "hosts").write_text(HOSTS)
    return Hosts(str(tmp_path / "hosts"))


@pytest.fixture
def resolver(tmp_path: Path) -> Iterator[ServerProcess]:
    (tmp_path / "hosts").write_text(HOSTS)
    with example("dns_hosts", str(tmp_path / "hosts")) as server:
        yield server


def ask(server: ServerProcess, query: dns.message.Message) -> dns.message.Message:
    where = address.parse(server.address)
    return dns.query.tcp(query, where.host, timeout=DEADLINE, port=where.port)


def answers(message: dns.message.Message) -> list[str]:
    return [record.to_text() for rrset in message.answer for record in rrset]


@pytest.mark.parametrize(
    ("name", "kind", "expected"),
    [
        ("localhost.", "A", ["127.0.0.1"]),
        ("localhost.", "AAAA", ["::1"]),
        ("web.example.com.", "A", ["192.0.2.10", "192.0.2.11"]),
        ("WWW.", "A", ["192.0.2.10"]),
        ("web.example.com.", "ANY", ["192.0.2.10", "192.0.2.11", "2001:db8::10"]),
        ("10.2.0.192.in-addr.arpa.", "PTR", ["Web.example.com."]),
        ("12.2.0.192.in-addr.arpa.", "PTR", None),
        (f"1.{'0.' * 31}ip6.arpa.", "PTR", ["localhost."]),
        ("web.example.com.", "MX", []),
        ("mail.example.com.", "A", None),
        ("nobody.example.com.", "A", None),
        (".", "NS", None),
    ],
)
def test_dnspython_is_told_what_the_file_says(
    resolver: ServerProcess, name: str, kind: str, expected: list[str] | None
) -> None:
    query = dns.message.make_query(name, kind, use_edns=False)
    response = ask(resolver, query)
    assert response.rcode() == (dns.rcode.NXDOMAIN if expected is None else dns.rcode.NOERROR)
    assert sorted(answers(response)) == (expected or [])
    assert response.flags & dns.flags.AA
    assert response.flags & dns.flags.RD
    assert response.edns == -1
    assert [str(rrset.name) for rrset in response.answer] == [name] * len(response.answer)


def test_many_queries_of_one_connection_are_answered_in_order(resolver: ServerProcess) -> None:
    queries = [dns.message.make_query(f"host{number}.", "A") for number in range(100)]
    where = address.parse(resolver.address)
    with socket.create_connection((where.host, where.port), DEADLINE) as sock:
        for query in queries:
            dns.query.send_tcp(sock, query)
        for query in queries:
            response, _ = dns.query.receive_tcp(sock)
            assert query.is_response(response)


@pytest.mark.parametrize("payload", [0, 512, 1232, 65535])
def test_edns_is_answered_with_edns(resolver: ServerProcess, payload: int) -> None:
    cookie = dns.edns.GenericOption(dns.edns.OptionType.COOKIE, b"12345678")
    query = dns.message.make_query("web.", "A", use_edns=0, payload=payload, options=[cookie])
    response = ask(resolver, query)
    assert answers(response) == ["192.0.2.10"]
    assert (response.edns, response.options) == (0, ())


def test_an_unknown_version_of_edns_is_badvers(resolver: ServerProcess) -> None:
    response = ask(resolver, dns.message.make_query("web.", "A", use_edns=1))
    assert response.rcode() == dns.rcode.BADVERS
    assert response.edns == 0
    assert answers(response) == []


QUERY = dns.message.make_query("localhost.", "A", id=7).to_wire()
QUESTION = QUERY[12:]
OPT = b"\0" + struct.pack(">HHIH", 41, 1232, 0, 0)
POINTER = b"\xc0\x0c" + struct.pack(">HHIHI", 1, 1, 0, 4, 0)


def header(flags: int = 0x0100, questions: int = 1, answers: int = 0, others: int = 0) -> bytes:
    return struct.pack(">6H", 7, flags, questions, answers, 0, others)


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (QUERY, dns.rcode.NOERROR),
        (header(others=1) + QUESTION + OPT, dns.rcode.NOERROR),
        (header(answers=1, others=1) + QUESTION + POINTER + OPT, dns.rcode.NOERROR),
        (header(flags=0x2000) + QUESTION, dns.rcode.NOTIMP),  # NOTIFY
        (header(flags=0x2800), dns.rcode.NOTIMP),  # UPDATE
        (header() + QUESTION[:-4] + b"\0\xfc\0\1", dns.rcode.NOTIMP),  # AXFR
        (header() + QUESTION[:-4] + b"\0\1\0\3", dns.rcode.REFUSED),  # class CH
        (header(questions=0), dns.rcode.FORMERR),
        (header(questions=2) + QUESTION * 2, dns.rcode.FORMERR),
        (header(), dns.rcode.FORMERR),
        (QUERY[:-1], dns.rcode.FORMERR),
        (QUERY + b"\0", dns.rcode.FORMERR),
        (header() + b"\xc0\x0c\0\1\0\1", dns.rcode.FORMERR),  # a name that points to itself
        (header() + b"\x40" + b"a" * 64 + b"\0\0\1\0\1", dns.rcode.FORMERR),
        (header() + b"\x3f" + b"a" * 63, dns.rcode.FORMERR),
        (header() + (b"\x3f" + b"a" * 63) * 4 + b"\0\0\1\0\1", dns.rcode.FORMERR),  # 257 bytes
        (header(others=2) + QUESTION + OPT * 2, dns.rcode.FORMERR),
        (header(others=1) + QUESTION + OPT[:-1], dns.rcode.FORMERR),
        (header(others=1) + QUESTION + OPT[:-1] + b"\1", dns.rcode.FORMERR),
        (header(others=0xFFFF) + QUESTION + OPT, dns.rcode.FORMERR),
    ],
)
def test_a_query_is_answered_with_its_response_code(
    hosts: Hosts, message: bytes, code: dns.rcode.Rcode
) -> None:
    response = dns.message.from_wire(hosts.received(message) or b"")
    assert response.id == 7
    assert response.rcode() == code
    assert response.opcode() == dns.message.from_wire(QUERY[:2] + message[2:4] + bytes(8)).opcode()


@pytest.mark.parametrize("message", [b"", QUERY[:11], header(flags=0x8000) + QUESTION])
def test_what_is_no_query_gets_no_response(hosts: Hosts, message: bytes) -> None:
    assert hosts.received(message) is None


def test_the_longest_name_there_can_be(hosts: Hosts) -> None:
    name = b"".join(bytes([size]) + b"a" * size for size in (63, 63, 63, 61)) + b"\0"
    response = hosts.received(header() + name + b"\0\1\0\1") or b""
    assert dns.message.from_wire(response).rcode() == dns.rcode.NXDOMAIN


def test_dig_is_answered(resolver: ServerProcess) -> None:
    if shutil.which("dig") is None:
        absent("dig")
    where = address.parse(resolver.address)
    command = ["dig", "+tcp", "+short", "-p", str(where.port), f"@{where.host}"]
    command += ["web.example.com", "AAAA", "-x", "192.0.2.10"]
    run = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE, check=True)
    assert run.stdout.split() == ["2001:db8::10", "Web.example.com."]


@both_ways("dns_hosts", "Hosts", "--framing", "dns")
def test_the_default_is_the_hosts_file_of_this_machine(server: ServerProcess) -> None:
    assert "127.0.0.1" in answers(ask(server, dns.message.make_query("localhost.", "A")))
