"""The text that names a framing."""

from __future__ import annotations

from pathlib import Path

import pytest

from epollo.errors import FramingSpecError
from epollo.framing import (
    Delimiter,
    Fixed,
    Framing,
    LengthField,
    LengthPrefix,
    Line,
    Netstring,
    Raw,
    Varint,
    parse,
)


@pytest.mark.parametrize(
    ("spec", "kind"),
    [
        ("u32", LengthPrefix),
        ("varint", Varint),
        ("netstring", Netstring),
        ("line", Line),
        ("raw", Raw),
        ("delimiter:\\0", Delimiter),
        ("fixed:128", Fixed),
        ("length(offset=4,size=2,adjust=0,strip=0,order=big)", LengthField),
        ("kafka", LengthPrefix),
        ("modbus", LengthField),
        ("protobuf", Varint),
    ],
)
def test_a_framing_has_the_name_that_the_user_wrote(spec: str, kind: type[Framing]) -> None:
    framing = parse(spec, 1000)
    assert type(framing) is kind
    assert (framing.name, framing.max_frame) == (spec, 1000)


def parameters(spec: str) -> tuple[type, int, int, int, int, str]:
    framing = parse(spec)
    assert isinstance(framing, LengthField)
    numbers = framing.offset, framing.size, framing.adjust, framing.strip
    return (type(framing), *numbers, framing.order)


@pytest.mark.parametrize(
    ("spec", "same"),
    [
        ("dns", "u16"),
        ("erlang2", "u16"),
        ("kafka", "u32"),
        ("thrift", "u32"),
        ("erlang4", "u32"),
        ("erlang1", "u8"),
        ("modbus", "length(offset=4,size=2)"),
        ("mongodb", "length(size=4,adjust=-4,order=little)"),
        ("u8", "length(size=1,strip=1)"),
        ("u16", "length(size=2,strip=2)"),
        ("u32", "length(size=4,strip=4)"),
        ("u64", "length(size=8,strip=8)"),
        ("u16le", "length(size=2,strip=2,order=little)"),
        ("u32le", "length(size=4,strip=4,order=little)"),
        ("u64le", "length(size=8,strip=8,order=little)"),
        ("length(size=2)", "length(offset=0,size=2,adjust=0,strip=0,order=big)"),
        ("length(size=2)", "length( size = 2 , order = big )"),
        ("length(strip=1,adjust=-3,size=3,offset=2)", "length(offset=2,size=3,adjust=-3,strip=1)"),
    ],
)
def test_names_for_the_same(spec: str, same: str) -> None:
    assert parameters(spec) == parameters(same)


def test_a_message_of_each_protocol_that_keeps_its_header() -> None:
    modbus = bytes.fromhex("0001 0000 0006 11 03 006b 0003")  # the specification's read request
    assert parse("modbus").decoder().feed(modbus) == [modbus]
    assert parse("modbus").encode(modbus[:4] + b"??" + modbus[6:]) == modbus
    mongodb = bytes.fromhex("15000000 01000000 00000000 dd070000 00000000 00")
    assert parse("mongodb").decoder().feed(mongodb) == [mongodb]
    assert parse("mongodb").encode(b"????" + mongodb[4:]) == mongodb


@pytest.mark.parametrize(
    ("spec", "delimiter"),
    [
        ("delimiter:\\0", b"\0"),
        ("delimiter:\\r\\n\\t\\\\", b"\r\n\t\\"),
        ("delimiter:\\x00\\xFf\\x41", b"\x00\xffA"),
        ("delimiter:\\x410", b"A0"),
        ("delimiter:\\\\n", b"\\n"),
        ("delimiter:::(", b"::("),
        ("delimiter: ", b" "),
        ("delimiter:\n", b"\n"),
        ("delimiter:END", b"END"),
        ("delimiter:é", "é".encode()),
    ],
)
def test_delimiters(spec: str, delimiter: bytes) -> None:
    framing = parse(spec)
    assert isinstance(framing, Delimiter)
    assert framing.delimiter == delimiter


@pytest.mark.parametrize(("spec", "size"), [("fixed:128", 128), ("fixed:1KiB", 1024)])
def test_fixed_sizes(spec: str, size: int) -> None:
    framing = parse(spec)
    assert isinstance(framing, Fixed)
    assert framing.size == size


@pytest.mark.parametrize("spec", ["", " ", "json", "http", "\n"])
def test_an_unknown_framing_is_one_line_with_the_names(spec: str) -> None:
    with pytest.raises(FramingSpecError, match=r"unknown framing .* known are u8, u16") as caught:
        parse(spec)
    assert "\n" not in str(caught.value)
    assert "delimiter:X, fixed:N, length(size=N), digits(size=N)" in str(caught.value)


@pytest.mark.parametrize(
    ("spec", "hint"),
    [
        ("u-32", "u32"),
        ("u33", "u32"),
        ("netstrings", "netstring"),
        ("delimeter:\\0", "delimiter:X"),
        ("fixed", "fixed:N"),
        ("lenght(size=2)", "length(size=N)"),
        ("length", "length(size=N)"),
        ("modbuss", "modbus"),
        ("u31", "u32"),
        ("U32", "u32"),
        ("u32:4", "u32"),
        ("u32be", "u32"),
        ("uint32", "u32"),
        ("uint16_le", "u16le"),
        ("u8le", "u8"),
        ("u24", "length(size=3)"),
        ("len32", "u32"),
        ("lines", "line"),
        ("line ", "line"),
        ("ndjson", "line"),
        ("nul", "delimiter:\\0"),
        ("delimiter=,", "delimiter:X"),
        ("raw(size=2)", "raw"),
        ("mqtt5", "mqtt"),
        ("hl7", "mllp"),
        ("LDAP", "ldap"),
        ("iso8583", "digits(size=4)"),
        ("digit(size=4)", "digits(size=N)"),
        ("asn1", "ber"),
        ("content-length", "headers"),
        ("crlf", "line(end=crlf)"),
        ("syslgo", "syslog"),
        ("tacacs+", "tacacs"),
        ("trackers.Tracker", "trackers:Tracker"),
        ("shop.trackers.Tracker", "shop.trackers:Tracker"),
    ],
)
def test_a_near_miss_is_answered_with_a_name(spec: str, hint: str) -> None:
    with pytest.raises(FramingSpecError) as caught:
        parse(spec)
    assert str(caught.value) == f"unknown framing {spec!r}: did you mean {hint}?"


def test_a_module_in_this_folder_may_be_meant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("meters.py").touch()
    with pytest.raises(FramingSpecError) as caught:
        parse("meters")
    assert str(caught.value) == (
        "unknown framing 'meters': write meters:Name for a class in meters.py; "
        "did you mean diameter?"
    )


def test_a_module_that_is_misspelt_is_no_name_of_a_protocol(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("meters.py").touch()
    with pytest.raises(FramingSpecError) as caught:
        parse("meter:Meter")
    assert str(caught.value) == (
        "framing module 'meter' not found here or on sys.path; did you mean meters?"
    )


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        ("delimiter:", "the delimiter is empty; write one such as delimiter:\\0"),
        ("delimiter:\\q", "there is no escape \\q; there are \\0 \\n \\r \\t \\\\ \\xHH"),
        ("delimiter:a\\", "there is no escape \\; there are"),
        ("delimiter:\\x4", "there is no escape \\x; there are"),
        ("delimiter:\\xZZ", "there is no escape \\x; there are"),
        ("delimiter:\udcff", "the delimiter is not text; write its bytes as \\xHH"),
        ("fixed:", "'' is not a size such as 64KiB"),
        ("fixed:many", "'many' is not a size such as 64KiB"),
        ("fixed:-1", "'-1' is not a size such as 64KiB"),
        ("fixed:1.5", "'1.5' is not a whole number"),
        ("fixed:0", "the size must be at least 1"),
        ("fixed:1001", "1001 bytes are over max_frame (1000)"),
        ("fixed:" + "9" * 400, "is too large; write a size such as 64KiB"),
        ("length()", "size is missing; it is one of 1, 2, 3, 4 and 8"),
        ("length(offset=4)", "size is missing"),
        ("length(size=5)", "size=5 is not one of 1, 2, 3, 4 and 8"),
        ("length(size=0)", "size=0 is not one of"),
        ("length(size=two)", "size=two is not a whole number such as 4"),
        ("length(size=)", "size= is not a whole number"),
        ("length(size=1_0)", "size=1_0 is not a whole number"),
        ("length(size=²)", "size=² is not a whole number"),
        ("length(size)", "size has no value; write size=VALUE"),
        ("length(size=2,size=2)", "size is given twice"),
        ("length(size=2,)", "there is no ''; there are offset, size, adjust, strip, order"),
        ("length(size=2,skip=2)", "there is no 'skip'; there are offset, size, adjust"),
        ("length(4,2)", "there is no '4'; there are offset"),
        ("length(size=2,order=middle)", "order=middle is neither big nor little"),
        ("length(size=2,offset=-1)", "offset=-1 is below 0"),
        ("length(size=2,adjust=2147483648)", "adjust=2147483648 is not a 32-bit number"),
        ("length(size=2,adjust=-2147483648)", "adjust=-2147483648 is not a 32-bit number"),
        ("length(size=2,offset=99999999999999999999)", "is not a whole number such as 4"),
        ("length(size=2,strip=-1)", "strip=-1 is below 0"),
        ("length(size=2", "write it as length(size=2), with ) at its end only"),
        ("length(size=2)x", "with ) at its end only"),
        ("digits()", 'give either size, as size=4, or end, as end=" "'),
        ("digits(size=4,end=:)", "give either size"),
        ("digits(size=19)", "size=19 is not from 1 to 18"),
        ("digits(size=x)", "size=x is not a whole number such as 4"),
        ("digits(end=)", "end= is not one byte other than a digit"),
        ("digits(end=5)", "end=5 is not one byte other than a digit"),
        ("digits(end=ab)", "end=ab is not one byte other than a digit"),
        (r"digits(end=\q)", r"there is no escape \q"),
        ("digits(size=4", "write it as digits(size=4), with ) at its end only"),
        ('digits(end=")', "with ) at its end only"),
        ("digits(size=4,strip=4)", "there is no 'strip'; there are size, end, offset, adjust"),
        ("bcd()", "size is missing; it is a number of bytes from 1 to 9"),
        ("bcd(size=10)", "size=10 is not from 1 to 9"),
        ("varint(size=11)", "size=11 is not from 1 to 10"),
        ("varint(offset=-1)", "offset=-1 is not from 0 to 2147483647"),
        ("varint(adjust=2147483648)", "adjust=2147483648 is not a 32-bit number"),
        ("varint(offset=1000)", "its length begins at byte 1000, over max_frame (1000)"),
        ("delimiter(start=x)", "end is missing"),
        ("delimiter(end=x,start=)", "start and end are at least one byte"),
        ("delimiter(end=)", "the delimiter is empty"),
        ("line(end=cr)", "end=cr is neither lf nor crlf"),
        ("headers(alias=a b)", "alias=a b is not the name of a header"),
        ("length(offset=999,size=2)", "its length ends at byte 1001, over max_frame (1000)"),
    ],
)
def test_a_wrong_argument_is_one_line_that_names_it(spec: str, why: str) -> None:
    with pytest.raises(FramingSpecError) as caught:
        parse(spec, max_frame=1000)
    assert f"bad framing {spec!r}: " in str(caught.value)
    assert why in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_length_that_no_frame_would_hold_is_refused_at_the_start() -> None:
    with pytest.raises(FramingSpecError, match=r"its length ends at byte 4, over max_frame \(3\)"):
        parse("u32", max_frame=3)
