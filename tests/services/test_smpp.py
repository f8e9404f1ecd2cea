"""smpplib speaks to the SMS centre."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.engines import Engine
from tests.interop.support import absent
from tests.services.support import complaints, example, port
from tests.support import DEADLINE, Peer, ServerProcess

pytestmark = pytest.mark.services

try:
    import smpplib.client
    import smpplib.exceptions
    import smpplib.gsm
except ImportError:
    absent("smpplib")


@pytest.fixture
def server(engine: Engine) -> Iterator[ServerProcess]:
    with example(engine, "smpp:Center", "--framing", "smpp") as server:
        yield server
        assert complaints(server) == []


@contextmanager
def bound(
    server: ServerProcess, number: str, how: str = "transceiver", password: str = "secret"
) -> Iterator[Any]:
    """A client of smpplib, which keeps what it is told in ``sent`` and ``received``."""
    client = smpplib.client.Client(
        "127.0.0.1", port(server), timeout=DEADLINE, allow_unknown_opt_params=True
    )
    client.sent, client.received = [], []
    client.set_message_sent_handler(lambda pdu: client.sent.append(pdu))
    client.set_message_received_handler(lambda pdu: client.received.append(pdu))
    with client:
        client.connect()
        getattr(client, f"bind_{how}")(system_id=number, password=password)
        yield client


def send(client: Any, source: str, destination: str, text: str, **more: Any) -> list[bytes]:
    """The messages that a text is divided into; each is acknowledged before the next is sent."""
    parts, coding, kind = smpplib.gsm.make_parts(text)
    for part in parts:
        client.send_message(
            source_addr=source,
            destination_addr=destination,
            short_message=part,
            data_coding=coding,
            esm_class=kind,
            **more,
        )
        before = len(client.sent)
        while len(client.sent) == before:
            client.read_once()
    return [bytes(part) for part in parts]


def next_of(client: Any) -> Any:
    while not client.received:
        client.read_once()
    return client.received.pop(0)


def test_a_message_reaches_its_account(server: ServerProcess) -> None:
    with bound(server, "1000", "transmitter") as ann, bound(server, "2000", "receiver") as bob:
        for text in ("hello", "Привет, 世界", "long " * 60):
            for part in send(ann, "1000", "2000", text):
                message = next_of(bob)
                assert (message.source_addr, message.destination_addr) == (b"1000", b"2000")
                assert (message.short_message, message.esm_class) == (part, 64 * (part[0] == 5))
        numbers = [pdu.message_id for pdu in ann.sent]
        assert len(set(numbers)) == len(numbers) == 4


def test_receipts_tell_what_became_of_a_message(server: ServerProcess) -> None:
    with bound(server, "1000") as ann:
        send(ann, "1000", "2000", "nobody is there", registered_delivery=2)
        assert b" stat:UNDELIV " in next_of(ann).short_message
        with bound(server, "2000") as bob:
            send(ann, "1000", "2000", "hello", registered_delivery=1)
            receipt = next_of(ann)
            assert receipt.short_message.startswith(b"id:" + ann.sent[-1].message_id + b" ")
            assert b" stat:DELIVRD " in receipt.short_message
            assert receipt.esm_class == 4
            assert (receipt.source_addr, receipt.destination_addr) == (b"2000", b"1000")
            assert next_of(bob).short_message == b"hello"
            send(ann, "1000", "2000", "once more", registered_delivery=2)
            send(bob, "2000", "1000", "answer")
            assert next_of(ann).short_message == b"answer"  # no receipt was wanted before


def test_a_wrong_password_is_refused(server: ServerProcess) -> None:
    refused = smpplib.exceptions.PDUError
    with pytest.raises(refused, match=r"\(14\)"), bound(server, "1000", password="guess"):
        pass


def test_a_link_is_kept_and_unbound(server: ServerProcess) -> None:
    with bound(server, "1000") as client:
        client.send_pdu(smpplib.smpp.make_pdu("enquire_link", client=client))
        assert client.read_pdu().command == "enquire_link_resp"
        assert client.unbind().command == "unbind_resp"
        with pytest.raises(smpplib.exceptions.ConnectionError):
            client.read_pdu()
        client.disconnect()


def test_bytes_that_are_no_commands_end_their_connection_only(server: ServerProcess) -> None:
    with bound(server, "1000") as client, Peer(server.address) as peer:
        peer.send(b"\0\0\0\x02")
        assert peer.receive_until_gone() == b""
        send(client, "1000", "1000", "to myself")
        assert next_of(client).short_message == b"to myself"
