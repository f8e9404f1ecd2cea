"""The framings used to check the rules of all framings, and streams that may be invalid."""

from __future__ import annotations

from hypothesis import strategies as st

PREFIXES = ["u8", "u16", "u32", "u64", "u16le", "u32le", "u64le"]
FIELDS = [
    "length(size=2)",
    "length(size=3,strip=3)",
    "length(size=2,adjust=-2)",
    "length(size=2,adjust=-2,strip=2)",
    "length(size=2,adjust=1,strip=2)",
    "length(offset=1,size=2,adjust=1,strip=3)",
    "length(offset=1,size=2,adjust=-3,strip=3)",
    "length(size=3,adjust=1,strip=4,order=little)",
    "length(offset=2,size=8,strip=1)",
    "length(size=1,strip=6)",
]
ANNOUNCED = [
    "varint",
    "netstring",
    "digits(size=2)",
    "digits(size=4,adjust=-4)",
    'digits(end=" ")',
    "digits(end=;,adjust=3)",
    "bcd(size=1)",
    "bcd(size=2)",
    "varint(size=2,adjust=-1)",
]
INSIDE = [  # the length is in the message, and a message with another length is refused
    "varint(offset=1)",
    "mqtt",
    "digits(offset=2,size=2)",
    "digits(offset=1,end=:)",
    "bcd(offset=1,size=2,adjust=-3)",
    "ber",
    "headers",
    "headers(alias=l)",
]
DELIMITERS = [
    "line",
    "delimiter:\\0",
    "delimiter:--",
    "delimiter:aab",
    "delimiter:aba",
    "line(end=crlf)",
    "delimiter(end=--,start=-)",
    "delimiter(end=1,start=1)",
    "mllp",
]
SIZED = [*PREFIXES, *FIELDS, *ANNOUNCED, "fixed:7", "modbus", "mongodb"]
FRAMINGS = [*SIZED, *INSIDE, *DELIMITERS]

# Bytes that have a meaning in some framing: streams of them are invalid in every way.
TELLING = [
    b"0",
    b"1",
    b"12",
    b":",
    b",",
    b"\0",
    b"\1",
    b"\x80",
    b"\xff",
    b"\r",
    b"\n",
    b"-",
    b"aab",
    b"0002",
    b"\x30\x81",
    b"\x0b",
    b"\x1c\r",
    b"\r\n\r\n",
    b"l:2",
    b"Content-Length: 1",
    b"Transfer-Encoding",
]
streams = st.lists(st.sampled_from(TELLING) | st.binary(max_size=4), max_size=40).map(b"".join)
