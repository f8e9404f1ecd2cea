"""HdrHistogram's own format of a histogram: version 2, compressed, in base64.

Its source is `AbstractHistogram.encodeIntoCompressedByteBuffer`
(https://github.com/HdrHistogram/HdrHistogram). All integers are big-endian:

    uint32  cookie 0x1c849304 | 0x10
    uint32  length of the rest, a zlib stream of:
        uint32  cookie 0x1c849303 | 0x10
        uint32  length of the words at the end
        uint32  offset of the indexes, 0
        uint32  significant digits
        uint64  lowest value that can be told from 0
        uint64  highest value
        double  factor of the values, 1.0
        words   the count of each bucket, from the first one on

A word is the ZigZag encoding of an integer (0, -1, 1, -2 become 0, 1, 2, 3) as LEB128-64b9B: seven
bits a byte, the lowest first, the eighth bit set if more follow; a ninth byte is the last and holds
eight bits. A word of -n stands for n empty buckets in a row; one of 0 for a
single one, which some writers use.
"""

from __future__ import annotations

import re
import struct
import sys
import zlib
from array import array
from base64 import b64decode, b64encode
from collections.abc import Sequence
from functools import cache
from itertools import accumulate, chain, compress
from operator import sub

from epollo.errors import UsageError

BUCKETS = 54 << 10  # with three digits, for values of 63 bits
_DIGITS = 3
_OUTER, _INNER = 0x1C849304, 0x1C849303
_ENCODED = 0x10  # in a cookie: the counts are words
_WORD_SIZE = 0xF0  # bits of a cookie that readers of version 2 ignore
_OUTER_HEAD = struct.Struct(">II")
_INNER_HEAD = struct.Struct(">IIIIQQd")
_LONGEST_WORD = 9  # bytes
_LONG_WORD = re.compile(rb"[\x80-\xff]{8}[\x00-\xff]|[\x80-\xff]{2,7}[\x00-\x7f]")
_LAST_BYTES = bytes(byte < 0x80 for byte in range(0x100))  # of words of up to eight bytes
_HIGHEST_COUNT = (1 << 63) - 1
_MOST = _INNER_HEAD.size + BUCKETS * _LONGEST_WORD  # bytes


def encode(indexes: Sequence[int], counts: Sequence[int], highest: int) -> str:
    """The histogram with these indexes of buckets, in rising order, and their counts, from 1 to
    ``highest`` with three significant digits. Raises UsageError for a count of more than 63 bits,
    which the format cannot hold."""
    gaps = map(sub, indexes, chain((0,), (index + 1 for index in indexes)))
    # Most gaps and counts are small, and a result has millions of them.
    words = b"".join(
        [
            _SHORT_PAIRS[gap << 6 | count] if gap < 64 and count < 64 else _pair(gap, count)
            for gap, count in zip(gaps, counts, strict=True)
        ]
    )
    head = _INNER_HEAD.pack(_INNER | _ENCODED, len(words), 0, _DIGITS, 1, highest, 1.0)
    content = zlib.compress(head + words)
    return b64encode(_OUTER_HEAD.pack(_OUTER | _ENCODED, len(content)) + content).decode()


def _pair(gap: int, count: int) -> bytes:
    """The words of ``gap`` empty buckets, and of one with that count."""
    if count > _HIGHEST_COUNT:
        raise UsageError(f"count: a bucket has {count} values, and at most 2**63 - 1 are written")
    return (_word(2 * gap - 1) if gap else b"") + _word(2 * count)


def _word(value: int) -> bytes:
    """The bytes of a word that is in ZigZag encoding."""
    word = bytearray()
    while value >= 0x80 and len(word) < _LONGEST_WORD - 1:
        word.append(value & 0x7F | 0x80)
        value >>= 7
    word.append(value)
    return bytes(word)


_SHORT_PAIRS = [_pair(pair >> 6, pair & 63) for pair in range(64 * 64)]


def decode(text: str) -> tuple[array[int], array[int]]:
    """The indexes of the buckets with values, in rising order, and their counts.

    Raises ValueError if ``text`` is not in the format, or not of three significant digits from 1.
    Whatever is in ``text``, this takes a megabyte at most in addition to it.
    """
    try:
        content = _content(b64decode(text, validate=True))
        _, length, offset, digits, lowest, _, factor = _INNER_HEAD.unpack_from(content)
    except (struct.error, zlib.error) as error:
        raise ValueError(f"not an HdrHistogram: {error}") from None
    if (offset, digits, lowest, factor) != (0, _DIGITS, 1, 1.0):
        raise ValueError(f"not an HdrHistogram from 1 with {_DIGITS} digits")
    if length != len(content) - _INNER_HEAD.size:
        raise ValueError("not an HdrHistogram: it is not as long as it says")
    try:
        return _counts(content[_INNER_HEAD.size :])
    except OverflowError:
        raise ValueError("not an HdrHistogram: it has a value of more than 63 bits") from None


def _content(data: bytes) -> bytes:
    """The content of the zlib stream. Raises ValueError, struct.error and zlib.error."""
    cookie, length = _OUTER_HEAD.unpack_from(data)
    if cookie & ~_WORD_SIZE != _OUTER:
        raise ValueError("not an HdrHistogram: another format")
    if length != len(data) - _OUTER_HEAD.size:
        raise ValueError("not an HdrHistogram: it is not as long as it says")
    stream = zlib.decompressobj()
    content = stream.decompress(data[_OUTER_HEAD.size :], _MOST)
    if not stream.eof or stream.unused_data:
        raise ValueError("not an HdrHistogram: incomplete, or too long")
    (inner,) = struct.unpack_from(">I", content)
    if inner & ~_WORD_SIZE != _INNER:
        raise ValueError("not an HdrHistogram: another format")
    return content


def _counts(words: bytes) -> tuple[array[int], array[int]]:
    """The indexes and the counts in ``words``. Nearly all words are of one or two bytes, and a
    result has millions of them, so those between two longer ones are taken together. Raises
    OverflowError for an index beyond 32 bits."""
    indexes, counts = array("I"), array("Q")
    index = end = 0
    for match in _LONG_WORD.finditer(words):
        index = _add_short(words[end : match.start()], index, indexes, counts)
        word, end = _long(match[0]), match.end()
        if word & 1:
            index += (word + 1) >> 1
            continue
        if word:
            indexes.append(index)
            counts.append(word >> 1)
        index += 1
    index = _add_short(words[end:], index, indexes, counts)
    if index > BUCKETS:
        raise OverflowError
    return indexes, counts


def _add_short(words: bytes, index: int, indexes: array[int], counts: array[int]) -> int:
    """Add words of one or two bytes, from the bucket ``index`` on; returns the index after them.

    The last byte of a word and the byte before it, as a number of 16 bits, tell the word: so a
    table has what each means."""
    if not words:
        return index
    if words[-1] >= 0x80:
        raise ValueError("not an HdrHistogram: its last count is incomplete")
    steps, values = _meanings()
    ends = list(compress(_overlapping(words), words.translate(_LAST_BYTES)))
    reached = list(accumulate(map(steps.__getitem__, ends), initial=index))
    found = list(map(values.__getitem__, ends))
    indexes.extend(compress(reached, found))
    counts.extend(filter(None, found))
    return reached[-1]


def _overlapping(data: bytes) -> array[int]:
    """For each byte the number that it and the byte before make: the former has the high bits."""
    padded = b"\0" + data + b"\0"
    even, odd = len(data) + 1 & ~1, len(data) & ~1
    numbers = array("H", bytes(2 * len(data)))
    numbers[0::2] = array("H", padded[:even])
    numbers[1::2] = array("H", padded[1 : 1 + odd])
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers


@cache
def _meanings() -> tuple[list[int], list[int]]:
    """What the last two bytes of a word mean: how many buckets it stands for, and their count."""
    words = [
        last >> 8 << 7 | last & 0x7F if last & 0x80 else last >> 8 for last in range(0x80 << 8)
    ]
    steps = [(word + 1) >> 1 if word & 1 else 1 for word in words]
    return steps, [0 if word & 1 else word >> 1 for word in words]


def _long(data: bytes) -> int:
    """The word in these bytes."""
    word = 0
    for place, byte in enumerate(data[:-1]):
        word |= (byte & 0x7F) << 7 * place
    return word | data[-1] << 7 * (len(data) - 1)
