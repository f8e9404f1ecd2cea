"""HdrHistogram's format: the bytes of the library hdrhistogram, and no other outcome for bad input
than a ValueError.

The Java original reads it in tests/interop/test_hlog.py.
"""

from __future__ import annotations

import random
import struct
import tracemalloc
import zlib
from base64 import b64decode, b64encode

import pytest
from hdrh.histogram import HdrHistogram
from hypothesis import given, settings
from hypothesis import strategies as st

from epollo.bench.results import hdr
from epollo.bench.results.histogram import HIGHEST, Histogram
from epollo.errors import UsageError

INNER = struct.Struct(">IIIIQQd")
OUTER = struct.Struct(">II")
COOKIE = 0x1C849313
VALUES = st.integers(0, 1 << 40) | st.integers(0, 3000)
COUNTS = st.lists(st.tuples(VALUES, st.integers(1, 1 << 40) | st.integers(1, 100)), max_size=50)


def recorded(values: list[tuple[int, int]]) -> Histogram:
    histogram = Histogram()
    for value, count in values:
        histogram.record_many(value, count)
    return histogram


def wrapped(content: bytes, cookie: int = 0x1C849314, length: int | None = None) -> str:
    """The text with these bytes in its zlib stream."""
    stream = zlib.compress(content)
    return b64encode(
        OUTER.pack(cookie, len(stream) if length is None else length) + stream
    ).decode()


def with_words(
    words: bytes, cookie: int = COOKIE, length: int | None = None, offset: int = 0,
    digits: int = 3, lowest: int = 1, highest: int = 2, factor: float = 1.0,
) -> str:  # fmt: skip
    """The text with these words as counts."""
    length = len(words) if length is None else length
    return wrapped(INNER.pack(cookie, length, offset, digits, lowest, highest, factor) + words)


def decoded(text: str) -> dict[int, int]:
    return dict(zip(*hdr.decode(text), strict=True))


@settings(max_examples=100)
@given(COUNTS)
def test_the_text_is_that_of_the_library(values: list[tuple[int, int]]) -> None:
    ours = recorded(values)
    buckets = list(ours.buckets())
    theirs = HdrHistogram(1, max(2, buckets[-1][1] if buckets else 0), 3)
    for low, _, count in buckets:
        theirs.record_value(low, count)
    assert ours.encode() == theirs.encode().decode()


@settings(max_examples=100)
@given(COUNTS)
def test_the_library_reads_what_was_recorded(values: list[tuple[int, int]]) -> None:
    ours = recorded(values)
    theirs = HdrHistogram.decode(ours.encode())
    assert theirs.get_total_count() == ours.total
    assert {n: count for n, count in enumerate(theirs.counts) if count} == decoded(ours.encode())


@settings(max_examples=100)
@given(COUNTS)
def test_what_the_library_wrote_is_read(values: list[tuple[int, int]]) -> None:
    theirs = HdrHistogram(1, 1 << 41, 3)
    for value, count in values:
        theirs.record_value(value, count)
    assert decoded(theirs.encode().decode()) == {
        index: count for index, count in enumerate(theirs.counts) if count
    }


@given(st.lists(st.tuples(st.integers(0, HIGHEST), st.integers(1, HIGHEST // 20)), max_size=20))
def test_all_that_the_format_can_hold_comes_back(values: list[tuple[int, int]]) -> None:
    ours = recorded(values)
    read = Histogram.decode(ours.encode())
    assert list(read.buckets()) == list(ours.buckets())
    assert read.encode() == ours.encode()


def test_words_of_all_lengths_in_any_order() -> None:
    """Those of one or two bytes are read together, up to the next longer one."""
    counts = [1, 63, 64, 127, 128, 8191, 8192, 16383, 16384, 1 << 20, 1 << 40, HIGHEST]
    chance = random.Random(1)  # noqa: S311
    for _ in range(300):
        index, buckets = 0, {}
        for _ in range(chance.randrange(1, 12)):
            index += chance.choice([1, 2, 63, 64, 65, 127, 128, 4000])
            buckets[index] = chance.choice(counts)
        indexes, found = hdr.decode(hdr.encode(list(buckets), list(buckets.values()), HIGHEST))
        assert dict(zip(indexes, found, strict=True)) == buckets


@pytest.mark.parametrize("end", [b"\x80", b"\x80\x80", b"\xff" * 8])
def test_a_last_word_that_is_cut_is_refused(end: bytes) -> None:
    with pytest.raises(ValueError, match="its last count is incomplete"):
        decoded(with_words(b"\x02\x80\x01\x80\x80\x01" + end))


def test_a_count_that_the_format_cannot_hold_is_refused() -> None:
    most = recorded([(5, HIGHEST)])
    assert decoded(most.encode()) == {5: HIGHEST}
    most.record(5)
    with pytest.raises(UsageError, match=r"\Acount: a bucket has 9223372036854775808 values.*\Z"):
        most.encode()


@pytest.mark.parametrize("zeros", [b"\0", b"\1"], ids=["0", "-1"])
def test_one_empty_bucket_is_either_word(zeros: bytes) -> None:
    assert decoded(with_words(b"\2" + zeros + b"\4")) == {0: 1, 2: 2}


def test_a_word_of_nine_bytes_has_eight_bits_in_the_last() -> None:
    assert decoded(with_words(b"\xfe" + b"\xff" * 7 + b"\xff")) == {0: HIGHEST}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "not an HdrHistogram"),
        ("=", "."),
        ("AAAA", "not an HdrHistogram"),
        ("é", "."),
        (b64encode(OUTER.pack(0x1C849314, 0)).decode(), "incomplete"),
        (b64encode(OUTER.pack(0x1C849314, 4) + b"zlib").decode(), "incorrect header check"),
        (wrapped(b""), "not an HdrHistogram"),
        (wrapped(INNER.pack(COOKIE, 0, 0, 3, 1, 2, 1.0)[:-1]), "not an HdrHistogram"),
        (wrapped(INNER.pack(COOKIE, 0, 0, 3, 1, 2, 1.0), cookie=0x1C849301), "another format"),
        (wrapped(INNER.pack(COOKIE, 0, 0, 3, 1, 2, 1.0), length=9), "not as long as it says"),
        (with_words(b"", cookie=0x1C849308), "another format"),
        (with_words(b"", offset=1), "from 1 with 3 digits"),
        (with_words(b"", digits=2), "from 1 with 3 digits"),
        (with_words(b"", lowest=1000), "from 1 with 3 digits"),
        (with_words(b"", factor=float("nan")), "from 1 with 3 digits"),
        (with_words(b"\2", length=2), "not as long as it says"),
        (with_words(b"\2", length=1 << 31), "not as long as it says"),
        (with_words(b"\x80"), "its last count is incomplete"),
        (with_words(b"\xff" * 8), "its last count is incomplete"),
        (with_words(b"\xff" * 8 + b"\x7f" + b"\2"), "more than 63 bits"),
        (with_words(b"\2" * (hdr.BUCKETS + 1)), "more than 63 bits"),
        (with_words(b"\2" * (hdr.BUCKETS * 9 + 1)), "incomplete, or too long"),
    ],
)
def test_anything_else_is_a_value_error_of_one_line(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why) as raised:
        hdr.decode(text)
    assert str(raised.value).count("\n") == 0


@settings(max_examples=300)
@given(st.text(max_size=80) | st.binary(max_size=200).map(lambda data: b64encode(data).decode()))
def test_no_text_raises_anything_but_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"\A.+\Z"):
        hdr.decode(text)


@settings(max_examples=300)
@given(st.binary(max_size=200))
def test_no_words_raise_anything_but_a_value_error(words: bytes) -> None:
    try:
        indexes, counts = hdr.decode(with_words(words))
    except ValueError:
        return
    assert list(indexes) == sorted(set(indexes))
    assert all(0 < count <= HIGHEST for count in counts)
    assert not indexes or indexes[-1] < hdr.BUCKETS


@given(COUNTS.filter(len), st.data())
def test_a_damaged_text_raises_nothing_but_a_value_error(
    values: list[tuple[int, int]], data: st.DataObject
) -> None:
    text = recorded(values).encode()
    whole = bytearray(b64decode(text))
    whole[data.draw(st.integers(0, len(whole) - 1))] ^= data.draw(st.integers(1, 255))
    for damaged in (text[: data.draw(st.integers(0, len(text) - 1))], b64encode(whole).decode()):
        try:
            Histogram.decode(damaged)
        except ValueError:
            continue
        assert damaged != text  # bits that readers ignore


@pytest.mark.parametrize("filler", [b"\2", b"\0", b"\1", b"\x80"])
def test_a_text_that_unpacks_to_64_megabytes_takes_a_few_megabytes(filler: bytes) -> None:
    stream = zlib.compressobj()
    head = INNER.pack(COOKIE, 1 << 30, 0, 3, 1, 2, 1.0)
    parts = [stream.compress(head)]
    parts += [stream.compress(filler * (1 << 20)) for _ in range(64)]
    packed = b"".join([*parts, stream.flush()])
    text = b64encode(OUTER.pack(0x1C849314, len(packed)) + packed).decode()
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="too long"):
            hdr.decode(text)
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()
