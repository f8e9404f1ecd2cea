"""The directory, whatever a client sends."""

from __future__ import annotations

import epollo.testing
from examples.ldap import Directory
from tests.examples.hostile import survives

START_TLS = bytes.fromhex("301d02010177188016") + b"1.3.6.1.4.1.1466.20037"


def element(tag: int, *contents: bytes) -> bytes:
    content = b"".join(contents)
    return bytes([tag, 0x84]) + len(content).to_bytes(4, "big") + content


def search(condition: bytes) -> bytes:
    head = b"\x04\0\x0a\1\2\x0a\1\0\2\1\0\2\1\0\1\1\0"  # the base, and all but the filter
    request = element(0x63, head, condition, element(0x30, b"\x04\2cn"))
    return element(0x30, b"\2\1\2", request)


def test_no_message_makes_it_raise() -> None:
    bind = bytes.fromhex("300c020101600702010304008000")
    texts = b"".join(bytes([tag, 1]) + b"x" for tag in (0x80, 0x81, 0x82))
    substrings = element(0xA4, b"\x04\2cn", element(0x30, texts))
    equality = element(0xA3, b"\x04\2cn", b"\x04\1x")
    condition = element(0xA1, substrings, element(0xA2, equality), b"\x87\2cn")
    survives(Directory(), "ldap", [START_TLS], [bind], [bind, search(condition)])


def test_filters_within_each_other_have_a_limit() -> None:
    condition = b"\x87\2cn"
    for _ in range(10_000):
        condition = element(0xA2, condition)
    with epollo.testing.connect(Directory(), framing="ldap") as connection:
        [answer] = connection.receive(search(condition))
        assert b"no LDAP message" in answer
        assert connection.closed
