"""Addresses: read, shown, refused."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from epollo import address
from epollo.address import Address
from epollo.errors import AddressError


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("127.0.0.1:8091", Address("127.0.0.1", 8091)),
        ("localhost:0", Address("localhost", 0)),
        ("[::1]:8091", Address("::1", 8091)),
        ("[fe80::1%eth0]:8091", Address("fe80::1%eth0", 8091)),
        ("unix:/run/epollo.sock", Address(path="/run/epollo.sock")),
        ("unix:@epollo", Address(path="\0epollo")),
        ("unix:./@file", Address(path="./@file")),
        ("unix:@" + "x" * 107, Address(path="\0" + "x" * 107)),
        ("fd://3", Address(fd=3)),
        ("fd://0", Address(fd=0)),
    ],
)
def test_parse_and_back(text: str, parsed: Address) -> None:
    assert address.parse(text) == parsed
    assert str(parsed) == text


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("8091", "no host; write 127.0.0.1:8091"),
        ("127.0.0.1", "no port"),
        ("127.0.0.1:http", "port 'http'"),
        ("127.0.0.1:65536", "port '65536'"),
        ("127.0.0.1:-1", "port '-1'"),
        ("127.0.0.1:\u0661", "port"),
        ("::1:8091", "in brackets"),
        (":8091", "no host; write 127.0.0.1:8091, or 0.0.0.0:8091"),
        ("unix:", "no path"),
        ("unix:@", "no path"),
        ("unix:a\0b", "write unix:@NAME"),
        ("unix:" + "x" * 108, "107 bytes"),
        ("unix:@" + "x" * 108, "107 bytes"),
        ("fd://", "write fd://N"),
        ("fd://stdin", "write fd://N"),
        ("fd://-1", "write fd://N"),
        ("fd://\u0663", "write fd://N"),
        ("", "write HOST:PORT"),
    ],
)
def test_a_bad_address_is_one_line_that_says_why(text: str, why: str) -> None:
    with pytest.raises(AddressError, match=why) as caught:
        address.parse(text)
    assert "\n" not in str(caught.value)


def test_a_descriptor_is_named_once() -> None:
    assert address.parse_all(["fd://3", "fd://4"]) == [Address(fd=3), Address(fd=4)]
    with pytest.raises(AddressError, match="fd://3 is given twice"):
        address.parse_all(["fd://3", "127.0.0.1:0", "fd://03"])


@pytest.mark.parametrize(
    ("sockaddr", "shown"),
    [
        (("127.0.0.1", 80), "127.0.0.1:80"),
        (("::1", 80, 0, 0), "[::1]:80"),
        (("::ffff:192.0.2.1", 80, 0, 0), "192.0.2.1:80"),
        (("::ffff:c000", 80, 0, 0), "[::ffff:c000]:80"),
        (("fe80::1", 80, 0, 1), f"[fe80::1%{socket.if_indextoname(1)}]:80"),
        (("fe80::1", 80, 0, 99999), "[fe80::1%99999]:80"),
        ("/run/epollo.sock", "unix:/run/epollo.sock"),
        (b"\0epollo", "unix:@epollo"),
        ("", "unix:(unnamed)"),
    ],
)
def test_a_socket_address_as_it_is_shown(sockaddr: Any, shown: str) -> None:
    assert str(address.of(sockaddr)) == shown


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/run/app.sock", "unix:/run/app.sock"),
        (
            "/run/\N{LATIN SMALL LETTER E WITH ACUTE}",
            "unix:/run/\N{LATIN SMALL LETTER E WITH ACUTE}",
        ),
        ("a\nb", r"unix:a\nb"),
        ("a\\nb", r"unix:a\\nb"),
        ("\x1b[31m", r"unix:\x1b[31m"),
        (b"\0name\0more", r"unix:@name\x00more"),
        (b"\xff\xc3\xa9", "unix:\\xff\N{LATIN SMALL LETTER E WITH ACUTE}"),
        ("\N{LINE SEPARATOR}", r"unix:\u2028"),
        ("\N{RIGHT-TO-LEFT OVERRIDE}", r"unix:\u202e"),
        ("", "unix:(unnamed)"),
    ],
)
def test_the_name_of_a_peer_is_printable(path: str | bytes, name: str) -> None:
    assert address.peer_name(path) == name
    assert name.isprintable()
