"""The HL7 receiver as its protocol is written; mllp_send itself is in ``tests/services``."""

from __future__ import annotations

from pathlib import Path

import pytest

import epollo.testing
from examples.mllp import Inbox
from tests.examples.support import example
from tests.support import Peer

ADMIT = b"MSH|^~\\&|LAB|NORTH|EHR|SOUTH|20260102030405||ADT^A01|42|P|2.5\rPID|1||12345\r"


@pytest.fixture
def inbox(tmp_path: Path) -> Inbox:
    return Inbox(str(tmp_path / "inbox"))


def stored(inbox: Inbox) -> list[bytes]:
    return [file.read_bytes() for file in inbox.folder.iterdir()]


def answer_to(inbox: Inbox, message: bytes) -> list[list[bytes]]:
    """The fields of MSH and of MSA."""
    with epollo.testing.connect(inbox, framing="mllp") as connection:
        (answer,) = connection.receive(message)
    return [segment.split(answer[3:4]) for segment in answer.rstrip(b"\r").split(b"\r")]


def test_a_message_is_stored_and_acknowledged(inbox: Inbox) -> None:
    for _ in range(2):
        msh, msa = answer_to(inbox, ADMIT)
        assert msh[:6] == [b"MSH", b"^~\\&", b"EHR", b"SOUTH", b"LAB", b"NORTH"]
        assert (msh[8], msh[10:]) == (b"ACK", [b"P", b"2.5"])
        assert msa == [b"MSA", b"AA", b"42", b""]
    assert stored(inbox) == [ADMIT]


def test_its_separators_are_those_of_the_message(inbox: Inbox) -> None:
    msh, msa = answer_to(inbox, ADMIT.replace(b"|", b"#").replace(b"^", b"*"))
    assert msh[:4] == [b"MSH", b"*~\\&", b"EHR", b"SOUTH"]
    assert msa[:3] == [b"MSA", b"AA", b"42"]


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"\r",
        b"MSH",
        b"hello",
        b"PID|1\r" + ADMIT,
        ADMIT.replace(b"|42|", b"||"),
        ADMIT.replace(b"|42|", b"|4\x1c|"),  # in an answer that would be the end of its frame
        ADMIT.replace(b"|P|2.5", b""),
        ADMIT.replace(b"|", b"H"),
    ],
)
def test_what_has_no_header_is_rejected_and_not_stored(inbox: Inbox, message: bytes) -> None:
    _, msa = answer_to(inbox, message)
    assert msa[:3] == [b"MSA", b"AR", b""]
    assert msa[3]
    assert stored(inbox) == []


def test_what_cannot_be_stored_may_be_sent_again(inbox: Inbox) -> None:
    inbox.folder.rmdir()
    _, msa = answer_to(inbox, ADMIT)
    assert msa == [b"MSA", b"AE", b"42", b"not stored: No such file or directory"]
    inbox.folder.mkdir()
    assert answer_to(inbox, ADMIT)[1][1] == b"AA"


def test_the_program(tmp_path: Path) -> None:
    with example("mllp", str(tmp_path / "inbox")) as server, Peer(server.address) as peer:
        peer.send(b"\x0b" + ADMIT + b"\x1c\r")
        assert peer.receive(4) == b"\x0bMSH"
        assert [file.read_bytes() for file in (tmp_path / "inbox").iterdir()] == [ADMIT]
