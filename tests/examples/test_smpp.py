"""The SMS centre as its protocol is written; smpplib is in ``tests/services``."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import epollo
from epollo.reasons import CloseReason
from examples.smpp import (
    BAD_COMMAND,
    BAD_LENGTH,
    BAD_LOGIN,
    BOUND,
    DELIVER,
    ENQUIRE,
    HEADER,
    NOT_BOUND,
    RECEIVER,
    RESPONSE,
    SUBMIT,
    TRANSCEIVER,
    TRANSMITTER,
    UNBIND,
    Center,
    pdu,
)
from tests.engines import Engine
from tests.examples.support import both_ways
from tests.support import Peer, ServerProcess, closed

LOGIN = b"1000\0secret\0\0\x34\0\0\0"
TO_2000 = b"\0\1\x011000\0\1\x012000\0"
SUBMITTED = TO_2000 + b"\3\0\0\0\0\0\0\0\0\5hello"
WELCOME = pdu(TRANSCEIVER | RESPONSE, 1, b"epollo\0")


@pytest.fixture
def center(engine: Engine) -> Iterator[epollo.Server]:
    with engine.server(Center(), framing="smpp") as server:
        yield server


def receive(peer: Peer) -> tuple[int, int, int, bytes]:
    """The command, status, sequence number and body of the next PDU."""
    size, *header = HEADER.unpack(peer.receive(HEADER.size))
    command, status, sequence = header
    return command, status, sequence, peer.receive(size - HEADER.size)


@pytest.mark.parametrize(
    ("command", "body", "expected", "status"),
    [
        (TRANSCEIVER, LOGIN.replace(b"secret", b"guess"), TRANSCEIVER | RESPONSE, BAD_LOGIN),
        (TRANSCEIVER, LOGIN.replace(b"1000", b"1001"), TRANSCEIVER | RESPONSE, BAD_LOGIN),
        (TRANSCEIVER, b"1000\0secret", TRANSCEIVER | RESPONSE, BAD_LENGTH),
        (TRANSCEIVER, b"x" * 16 + b"\0\0", TRANSCEIVER | RESPONSE, BAD_LENGTH),
        (TRANSCEIVER, b"", TRANSCEIVER | RESPONSE, BAD_LENGTH),
        (SUBMIT, SUBMITTED, SUBMIT | RESPONSE, NOT_BOUND),
        (ENQUIRE, b"", ENQUIRE | RESPONSE, 0),
        (DELIVER, SUBMITTED, RESPONSE, BAD_COMMAND),
        (0, b"", RESPONSE, BAD_COMMAND),
        (3, b"", RESPONSE, BAD_COMMAND),
    ],
)
def test_a_command_is_answered_with_its_status(
    center: epollo.Server, command: int, body: bytes, expected: int, status: int
) -> None:
    with Peer(center.addresses[0]) as peer:
        peer.send(pdu(command, 7, body))
        assert receive(peer) == (expected, status, 7, b"")


@pytest.mark.parametrize(
    ("bind", "body", "status"),
    [
        (TRANSMITTER, SUBMITTED[:-1], BAD_LENGTH),
        (TRANSMITTER, TO_2000, BAD_LENGTH),
        (TRANSMITTER, b"", BAD_LENGTH),
        (TRANSMITTER, b"\0\1\1" + b"1" * 21 + SUBMITTED, BAD_LENGTH),
        (RECEIVER, SUBMITTED, NOT_BOUND),
    ],
)
def test_a_message_is_refused_with_its_status(
    center: epollo.Server, bind: int, body: bytes, status: int
) -> None:
    with Peer(center.addresses[0]) as peer:
        peer.send(pdu(bind, 1, LOGIN) + pdu(bind, 2, LOGIN) + pdu(SUBMIT, 3, body))
        assert receive(peer) == (bind | RESPONSE, 0, 1, b"epollo\0")
        assert receive(peer) == (bind | RESPONSE, BOUND, 2, b"")
        assert receive(peer) == (SUBMIT | RESPONSE, status, 3, b"")


def test_a_message_is_delivered_behind_its_acknowledgement(center: epollo.Server) -> None:
    parameters = b"\x02\x0c\0\2\0\1"  # sar_msg_ref_num
    to_itself = SUBMITTED.replace(b"2000", b"1000") + parameters
    with Peer(center.addresses[0]) as peer:
        peer.send(pdu(TRANSCEIVER, 1, LOGIN) + pdu(SUBMIT, 2, to_itself))
        assert receive(peer)[:3] == (TRANSCEIVER | RESPONSE, 0, 1)
        assert receive(peer) == (SUBMIT | RESPONSE, 0, 2, b"00000001\0")
        command, status, sequence, body = receive(peer)
        assert (command, status) == (DELIVER, 0)
        assert body == to_itself.replace(b"\3\0\0\0\0\0\0\0\0\5", bytes(9) + b"\5")
        peer.send(pdu(DELIVER | RESPONSE, sequence, b"\0") + pdu(UNBIND, 3))
        assert receive(peer) == (UNBIND | RESPONSE, 0, 3, b"")
        assert peer.receive_all() == b""


@pytest.mark.parametrize("frame", [b"\0\0\0\4", b"\0\0\0\x0f" + bytes(11), b"\0\0\0\0"])
def test_less_than_a_header_ends_the_connection(center: epollo.Server, frame: bytes) -> None:
    with Peer(center.addresses[0]) as peer:
        peer.send(frame + pdu(ENQUIRE, 1))
        assert peer.receive_until_gone() == b""
        assert closed(center, CloseReason.BAD_FRAME) == 1


@both_ways("smpp", "Center", "--framing", "smpp")
def test_the_program(server: ServerProcess) -> None:
    with Peer(server.address) as peer:
        peer.send(pdu(TRANSCEIVER, 1, LOGIN))
        assert peer.receive(len(WELCOME)) == WELCOME
