"""The DICOM application entity, PDU by PDU."""

from __future__ import annotations

import struct

import pytest

import epollo.testing
from examples.dicom import VERIFICATION, Echo, element, item, pdu
from tests.examples.hostile import survives

REQUEST = pdu(
    1,
    struct.pack(">HH16s16s32x", 1, 0, b"ANY-SCP", b"TEST")
    + item(0x10, b"1.2.840.10008.3.1.1.1")
    + item(0x20, b"\1\0\0\0" + item(0x30, VERIFICATION) + item(0x40, b"1.2.840.10008.1.2"))
    + item(0x50, item(0x51, struct.pack(">I", 16384))),
)
FIELDS = element(0x0100, b"\x30\0") + element(0x0110, b"\7\0") + element(0x0800, b"\1\1")
COMMAND = element(0, struct.pack("<I", len(FIELDS))) + FIELDS


def data(*fragments: tuple[int, bytes]) -> bytes:
    packed = (struct.pack(">IBB", len(part) + 2, 1, flags) + part for flags, part in fragments)
    return pdu(4, b"".join(packed))


def test_a_command_may_come_in_fragments() -> None:
    with epollo.testing.connect(Echo(), framing="dicom") as connection:
        assert [answer[0] for answer in connection.receive(REQUEST)] == [2]
        assert connection.receive(data((1, COMMAND[:5]))) == []
        [answer] = connection.receive(data((1, COMMAND[5:20]), (3, COMMAND[20:])))
        assert element(0x0120, b"\7\0") in answer
        assert connection.receive(pdu(5, bytes(4))) == [pdu(6, bytes(4))]
        assert connection.closed


@pytest.mark.parametrize(
    "conversation",
    [
        [data((3, COMMAND))],  # before there is an association
        [REQUEST, REQUEST],
        [REQUEST, data((2, COMMAND))],  # a data set, which no command has announced
        [REQUEST, data(*[(1, bytes(100))] * 11)],
        [REQUEST, data((3, COMMAND.replace(b"\x30\0", b"\x01\0")))],  # C-STORE
        [pdu(9, b"")],
    ],
)
def test_what_should_not_come_is_aborted(conversation: list[bytes]) -> None:
    with epollo.testing.connect(Echo(), framing="dicom") as connection:
        answers = [connection.receive(message) for message in conversation]
        assert answers[-1] == [pdu(7, b"\0\0\2\0")]
        assert connection.closed


def test_no_message_makes_it_raise() -> None:
    survives(Echo(), "dicom", [REQUEST], [REQUEST, data((1, COMMAND[:5]), (3, COMMAND[5:]))])
