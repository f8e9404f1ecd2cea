"""The station, frame by frame."""

from __future__ import annotations

import struct

import pytest

import epollo.testing
from examples.iec104 import WINDOW, Station
from tests.examples.hostile import survives

START, STARTED = bytes.fromhex("680407000000"), bytes.fromhex("68040b000000")
INTERROGATION = bytes.fromhex("640106000100000000") + b"\x14"


def frame(number: int, acknowledged: int, content: bytes) -> bytes:
    head = struct.pack("<BBHH", 0x68, 4 + len(content), number << 1, acknowledged << 1)
    return head + content


def command(content: str) -> bytes:
    return frame(0, 0, bytes.fromhex(content))


def test_a_test_is_confirmed_before_the_start_and_a_command_is_not() -> None:
    with epollo.testing.connect(Station(), framing="iec104") as connection:
        assert connection.receive(bytes.fromhex("680443000000")) == [bytes.fromhex("680483000000")]
        assert connection.receive(frame(0, 0, INTERROGATION)) == []
        assert connection.closed


@pytest.mark.parametrize("acknowledging", [False, True])
def test_no_more_is_sent_than_the_window_holds(acknowledging: bool) -> None:
    """Each interrogation is answered by four frames."""
    with epollo.testing.connect(Station(), framing="iec104") as connection:
        assert connection.receive(START) == [STARTED]
        for number in range(WINDOW // 4):
            acknowledged = 4 * number if acknowledging else 0
            assert len(connection.receive(frame(number, acknowledged, INTERROGATION))) == 4
        acknowledged = WINDOW if acknowledging else 0
        answers = connection.receive(frame(WINDOW // 4, acknowledged, INTERROGATION))
        assert len(answers) == (4 if acknowledging else 0)
        assert connection.closed is not acknowledging


def test_the_next_number_is_expected_and_nothing_acknowledged_that_was_not_sent() -> None:
    for wrong in (frame(1, 0, INTERROGATION), frame(0, 1, INTERROGATION)):
        with epollo.testing.connect(Station(), framing="iec104") as connection:
            assert connection.receive(START) == [STARTED]
            assert connection.receive(wrong) == []
            assert connection.closed


@pytest.mark.parametrize(
    ("sent", "answered"),
    [
        ("650106000100000000 05", "65016c000100"),  # a counter interrogation: unknown type
        ("640109000100000000 14", "64016d000100"),  # unknown cause
        ("640106000700000000 14", "64016e000700"),  # unknown station
        ("2d01060001004d0400 01", "2d016f000100"),  # unknown object
        ("2d01060901004c0400 01", "2d0107090100"),  # confirmed, to its origin
    ],
)
def test_refusals_name_their_cause(sent: str, answered: str) -> None:
    with epollo.testing.connect(Station(), framing="iec104") as connection:
        assert connection.receive(START) == [STARTED]
        assert connection.receive(command(sent))[0][6:12] == bytes.fromhex(answered)


def test_a_selection_is_confirmed_and_does_nothing() -> None:
    with epollo.testing.connect(Station(), framing="iec104") as connection:
        assert connection.receive(START) == [STARTED]
        [confirmed] = connection.receive(command("2d01060001004c0400 81"))
        assert confirmed[8] == 7
        *_, returned, _ = connection.receive(frame(1, 1, bytes.fromhex("2d01060001004c0400 00")))
        assert returned[-1] == 0


def test_no_message_makes_it_raise() -> None:
    switch = command("2d01060001004c0400 01")
    survives(Station(), "iec104", [START], [START, frame(0, 0, INTERROGATION)], [START, switch])
