"""Where requests and replies have their identifier."""

from __future__ import annotations

from typing import Any

import pytest

from epollo import Match, SettingError
from epollo.client.match import bytes_at, parse


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
