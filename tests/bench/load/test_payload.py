"""What is sent can be told from anything else, and what is wrong with a reply is told by name."""

from __future__ import annotations

import itertools

import pytest

from epollo.bench.load.payload import Fault, Payload
from epollo.framing import Line

BINARY, TEXT = False, True
HEADERS = {BINARY: 20, TEXT: 40}  # bytes from which on a message says whose it is
CONNECTION = 7
SIZES = [(BINARY, 20), (BINARY, 64), (BINARY, 65536), (TEXT, 40), (TEXT, 64), (TEXT, 65536)]

every_size = pytest.mark.parametrize(("text", "size"), SIZES)


def sent(payload: Payload, count: int) -> list[bytes]:
    """The first messages of a connection, sent at a microsecond's distance."""
    return [payload.message(CONNECTION, n, 10**12 + n * 1000) for n in range(count)]


@pytest.mark.parametrize("text", [BINARY, TEXT])
def test_a_message_has_exactly_the_size_wanted(text: bool) -> None:
    for size in [*range(600), 65536]:
        message = Payload([size], text).message(3, 1234567, 10**15)
        assert len(message) == size


@pytest.mark.parametrize("text", [BINARY, TEXT])
def test_sizes_follow_each_other_and_connections_differ(text: bool) -> None:
    sizes = [0, 10, 50, 100, 1000]
    payload = Payload(sizes, text)
    series = [[len(payload.message(c, n, 0)) for n in range(10)] for c in range(3)]
    assert series[0] == sizes + sizes
    assert [sorted(each) for each in series] == [sorted(sizes + sizes)] * 3
    assert series[0] != series[1]


@pytest.mark.parametrize("text", [BINARY, TEXT])
def test_an_earlier_message_of_another_size_is_a_duplicate(text: bool) -> None:
    payload = Payload([64, 1000, 300], text)
    *before, expected = sent(payload, 9)
    for message in before:
        assert payload.fault(message, expected, CONNECTION, 9) is Fault.DUPLICATE


def test_a_text_message_is_printable_and_one_line() -> None:
    line = Line("line", max_frame=2000)
    payloads = [Payload([size], TEXT) for size in (*range(100), 1000)]
    for message in [message for payload in payloads for message in sent(payload, 100)]:
        assert message.isascii()
        assert message.decode().isprintable()
        assert line.decoder().feed(line.encode(message)) == [message]


@every_size
def test_every_message_is_unlike_any_other(text: bool, size: int) -> None:
    payload = Payload([size], text)
    keys = itertools.product(range(5), [0, 1, 2, 255, 256, 65535, 1 << 40], [0, 1, 10**15])
    messages = [payload.message(connection, number, when) for connection, number, when in keys]
    assert len(set(messages)) == len(messages)


@pytest.mark.parametrize(
    ("text", "size", "count"),
    [(BINARY, 1, 256), (BINARY, 2, 65536), (TEXT, 1, 16), (TEXT, 2, 256)],
)
def test_a_short_message_is_unlike_those_sent_about_the_same_time(
    text: bool, size: int, count: int
) -> None:
    payload = Payload([size], text)
    messages = [payload.message(CONNECTION, n, n) for n in range(2 * count)]
    assert len(set(messages[:count])) == len(set(messages[count // 2 :][:count])) == count


@every_size
def test_any_byte_flipped_is_wrong_bytes(text: bool, size: int) -> None:
    """In the number too, where it makes the message look like an earlier or a later one."""
    payload = Payload([size], text)
    messages = sent(payload, 600)
    expected = messages[-1]
    for place in {*range(min(size, 100)), size // 2, size - 1}:
        damaged = bytearray(expected)
        damaged[place] ^= 1
        assert payload.fault(bytes(damaged), expected, CONNECTION, 600) is Fault.WRONG_BYTES


@every_size
def test_the_beginning_of_a_message_is_short(text: bool, size: int) -> None:
    payload = Payload([size], text)
    *_, expected = sent(payload, 3)
    for length in {0, 1, HEADERS[text] - 1, size // 2, size - 1}:
        assert payload.fault(expected[:length], expected, CONNECTION, 3) is Fault.SHORT


@every_size
def test_a_message_with_more_behind_it_is_wrong_bytes(text: bool, size: int) -> None:
    payload = Payload([size], text)
    *_, expected = sent(payload, 3)
    assert payload.fault(expected + b"\0", expected, CONNECTION, 3) is Fault.WRONG_BYTES


@every_size
def test_an_earlier_message_is_a_duplicate(text: bool, size: int) -> None:
    payload = Payload([size], text)
    *before, expected = sent(payload, 300)
    for number in (0, 1, 43, 298):
        assert payload.fault(before[number], expected, CONNECTION, 300) is Fault.DUPLICATE
        assert payload.fault(before[number], None, CONNECTION, 299) is Fault.DUPLICATE


@every_size
def test_a_message_of_another_connection_is_wrong_bytes(text: bool, size: int) -> None:
    payload = Payload([size], text)
    *_, expected = sent(payload, 3)
    stranger = payload.message(CONNECTION + 1, 0, 10**12)
    assert payload.fault(stranger, expected, CONNECTION, 3) is Fault.WRONG_BYTES


@pytest.mark.parametrize("text", [BINARY, TEXT])
@pytest.mark.parametrize("size", [0, 1, 19, 64])
def test_anything_else_where_nothing_is_outstanding_is_extra(text: bool, size: int) -> None:
    for reply in (b"", b"unasked", b"-" * 64, b"\xff" * 64):
        assert Payload([size], text).fault(reply, None, CONNECTION, 3) is Fault.EXTRA


@pytest.mark.parametrize("text", [BINARY, TEXT])
@pytest.mark.parametrize("reply", [b"error", b"z" * 40, b"-1" * 20, b"\xff" * 64, b"\r\n" * 32])
def test_what_was_never_sent_is_wrong_bytes(text: bool, reply: bytes) -> None:
    payload = Payload([64], text)
    *_, expected = sent(payload, 3)
    assert payload.fault(reply, expected, CONNECTION, 3) is Fault.WRONG_BYTES


@pytest.mark.parametrize(("text", "size"), [(BINARY, 1), (BINARY, 19), (TEXT, 1), (TEXT, 39)])
def test_a_message_too_short_to_say_whose_it_is_is_wrong_or_short(text: bool, size: int) -> None:
    payload = Payload([size], text)
    earlier, _, expected = sent(payload, 3)
    assert payload.fault(earlier, expected, CONNECTION, 3) is Fault.WRONG_BYTES
    assert payload.fault(expected[:-1], expected, CONNECTION, 3) is Fault.SHORT
