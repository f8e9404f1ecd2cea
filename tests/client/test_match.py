"""Where requests and replies have their identifier."""

from __future__ import annotations

from typing import Any

import pytest

from epollo import Match, SettingError
from epollo.client.identifiers import IDENTIFIERS
from epollo.client.match import bytes_at, parse

# Messages of the specifications' layouts, and the identifier in each.
REQUESTS = {
    "modbus": (bytes.fromhex("0002000000061103006b0003"), b"\0\2"),
    "dns": (bytes.fromhex("fa4e01000001000000000000076578616d706c6503636f6d0000010001"), b"\xfaN"),
    "kafka": (bytes.fromhex("0012000000000007000178"), b"\0\0\0\7"),
    "thrift": (bytes.fromhex("800100010000000470696e670000000100"), b"\0\0\0\1"),
    "smpp": (bytes.fromhex("00000010000000150000000000000009"), b"\0\0\0\x09"),
    "diameter": (
        bytes.fromhex("0100001480000118000000000000000500000006"),
        b"\0\0\0\5",
    ),
    "mongodb": (bytes.fromhex("150000000700000000000000dd0700000000000000"), b"\7\0\0\0"),
    "ldap": (bytes.fromhex("300c020103600702010304008000"), b"\3"),
}
REPLIES = {
    "kafka": bytes.fromhex("00000007000000"),
    "thrift": bytes.fromhex("800100020000000470696e670000000100"),
    "smpp": bytes.fromhex("00000010800000150000000000000009"),
    "diameter": bytes.fromhex("0100001400000118000000000000000500000006"),
    "mongodb": bytes.fromhex("150000009900000007000000dd0700000000000000"),
    "ldap": bytes.fromhex("3081070201036102") + bytes(2),
}


def test_bytes_at_find_the_identifier_without_a_python_call() -> None:
    match = bytes_at(2, 3)
    assert match.get(b"01abc56") == b"abc"
    assert not hasattr(match.get, "__code__")
    assert match.stamp is None


def test_the_stamp_writes_a_big_endian_number_and_leaves_the_rest() -> None:
    stamp = bytes_at(2, 2, stamp=True).stamp
    assert stamp is not None
    assert stamp(b"01....67", 0x1234) == b"01\x12\x3467"[:2] + b"\x12\x34..67"
    assert stamp(b"01..", 0x54321) == b"01\x43\x21"  # it wraps around


@pytest.mark.parametrize(
    ("text", "offset", "stamps"),
    [("bytes(0,2)", 0, False), ("bytes( 4, 2 )", 4, False), ("bytes(4,2,stamp)", 4, True)],
)
def test_the_text_means_the_same(text: str, offset: int, stamps: bool) -> None:
    match = parse(text)
    assert match is not None
    assert match.get(b"0123456789") == b"0123456789"[offset : offset + 2]
    assert match.needs == offset + 2
    assert (match.stamp is not None) is stamps


def test_a_function_is_the_getter() -> None:
    match = parse(len)
    assert match is not None
    assert match.get(b"four") == 4
    assert parse(match) is match
    assert parse(None) is None


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: parse("bytes(0)"), "'bytes(0)' is not known; write bytes"),
        (lambda: parse("bytes(-1,2)"), "is not known"),
        (lambda: parse(""), "'' is not known"),
        (lambda: parse("bytes(0,0)"), "size=0 is not a number of bytes"),
        (lambda: parse("bytes(999999999,1)"), "offset=999999999 is not a number of bytes"),
        (lambda: parse(7), "7 is not known"),  # type: ignore[arg-type]
        (lambda: bytes_at(0, 1 << 70), "size="),
        (lambda: bytes_at(1.0, 2), r"offset=1\.0"),  # type: ignore[arg-type]
        (lambda: Match(None), "get=None is not a function"),  # type: ignore[arg-type]
        (lambda: Match(len, stamp=3), "stamp=3 is not a function"),  # type: ignore[arg-type]
    ],
)
def test_what_cannot_be_is_a_setting_error(make: Any, text: str) -> None:
    with pytest.raises(SettingError, match=text.replace("(", r"\(").replace(")", r"\)")) as caught:
        make()
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("match: ")


def reply(name: str, message: bytes) -> object:
    match = parse(name)
    assert match is not None
    return (match.get_reply or match.get)(message)


@pytest.mark.parametrize("name", IDENTIFIERS)
def test_the_identifier_of_a_protocol_is_found_in_its_frames(name: str) -> None:
    request, expected = REQUESTS[name]
    match = parse(name)
    assert match is not None
    assert match.get(request) == expected
    answer = REPLIES.get(name, request)
    assert reply(name, answer) == expected
    for size in range(len(answer)):
        assert reply(name, answer[:size]) in (None, answer[:size][:2], expected)


@pytest.mark.parametrize("name", IDENTIFIERS)
def test_the_identifier_of_a_protocol_is_written_where_it_is_found(name: str) -> None:
    match = parse(f"{name}(stamp)")
    assert match is not None
    assert match.stamp is not None
    request, _ = REQUESTS[name]
    stamped = {match.stamp(request, number) for number in range(100)}
    assert {match.get(each) for each in stamped} == {match.get(each) for each in stamped} - {None}
    assert len({match.get(each) for each in stamped}) == 100
    assert {len(each) for each in stamped} == {len(request)}


def test_the_stamp_of_ldap_is_a_number_as_ber_has_it() -> None:
    """slapd answers to 0x0005 with 05: a number has no zeros in front (X.690, 8.3.2)."""
    stamp = parse("ldap(stamp)").stamp  # type: ignore[union-attr]
    assert stamp is not None
    for size in (1, 2, 4):
        request = b"\x30\x10\x02" + bytes([size]) + bytes(size) + b"\x42\0"
        firsts = {stamp(request, number)[4] for number in (0, 1, 126, 127, 0x7EFFFFFF, 1 << 40)}
        assert all(0 < first < 0x80 for first in firsts)


def test_requests_of_the_server_are_no_replies() -> None:
    assert reply("smpp", bytes.fromhex("00000010000000150000000000000007")) is None
    assert reply("diameter", bytes.fromhex("0100001480000118") + bytes(12)) is None
    assert reply("ldap", bytes.fromhex("300c02010078070a010004000400")) is None
