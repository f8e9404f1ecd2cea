"""An SMS centre for tests: it passes messages from one account to another, with receipts.

    python examples/smpp.py 127.0.0.1:2775 1000:secret 2000:secret
    epollo serve examples.smpp:Center --framing smpp

An account is a number and a password. A message to a number is delivered to the connections
that are bound with it as a receiver. SMPP 3.4, https://smpp.org/SMPP_v3_4_Issue1_2.pdf, whose
sections the comments name.
"""

from __future__ import annotations

import struct
import sys
import time
from collections import Counter
from dataclasses import dataclass
from itertools import count

import epollo

HEADER = struct.Struct(">IIII")  # length, command, status, sequence number
MAX_FRAME = "70KiB"  # a message has at most 64 KiB, as the parameter message_payload

RECEIVER, TRANSMITTER, TRANSCEIVER = 1, 2, 9  # commands that bind (5.1.2.1)
SUBMIT, DELIVER, UNBIND, ENQUIRE = 4, 5, 6, 0x15
RESPONSE = 0x80000000  # in the response to a command; alone it is generic_nack

BAD_LENGTH, BAD_COMMAND, NOT_BOUND, BOUND, BAD_LOGIN = 2, 3, 4, 5, 0x0E  # status (5.1.3)

RECEIPT, FEATURES = 0x04, 0xC0  # in esm_class (5.2.12); features such as a header in the text
ALWAYS, ON_FAILURE = 1, 2  # when a receipt is wanted: registered_delivery (5.2.17)


class Refused(Exception):
    """A command that is answered with an error."""

    def __init__(self, status: int) -> None:
        self.status = status


@dataclass(frozen=True)
class Session:
    """The state of a connection that is bound."""

    account: str
    transmits: bool
    receives: bool


@dataclass
class Message:
    """What submit_sm and deliver_sm have in common (4.4.1, 4.6.1)."""

    service: bytes
    source: bytes  # with its type and plan
    destination: bytes
    esm_class: int
    coding: int
    text: bytes
    parameters: bytes = b""  # optional ones, as they came
    receipt: int = 0  # when one is wanted

    @property
    def number(self) -> str:
        """The destination without its type and plan."""
        return self.destination[2:-1].decode("latin-1")


class Center:
    """An account is a group: the connections that receive its messages."""

    def __init__(self, *accounts: str) -> None:
        pairs = [each.partition(":") for each in accounts or ("1000:secret", "2000:secret")]
        self.passwords = {number: password for number, _, password in pairs}
        self.receivers: Counter[str] = Counter()  # connections of each account
        self.sequence = count(1)
        self.message_ids = count(1)

    def started(self, server: epollo.Server) -> None:
        self.server = server

    def received(self, message: bytes, connection: epollo.Connection) -> bytes | None:
        if len(message) < HEADER.size:
            connection.abort(epollo.CloseReason.BAD_FRAME)
            return None
        _, command, _, sequence = HEADER.unpack_from(message)
        if command & RESPONSE:  # to a deliver_sm, which is not sent again
            return None
        try:
            return self.answer(command, sequence, Fields(message), connection)
        except Refused as refused:
            known = refused.status != BAD_COMMAND
            return pdu(command | RESPONSE if known else RESPONSE, sequence, status=refused.status)

    def disconnected(self, connection: epollo.Connection, reason: epollo.CloseReason) -> None:
        session: Session | None = connection.state
        if session is not None and session.receives:
            self.receivers[session.account] -= 1

    def answer(
        self, command: int, sequence: int, fields: Fields, connection: epollo.Connection
    ) -> bytes | None:
        if command in (RECEIVER, TRANSMITTER, TRANSCEIVER):
            self.bind(command, fields, connection)
            return pdu(command | RESPONSE, sequence, b"epollo\0")
        if command == SUBMIT:
            self.submit(sequence, fields, connection)
            return None
        if command == UNBIND:
            connection.close()
        elif command != ENQUIRE:
            raise Refused(BAD_COMMAND)
        return pdu(command | RESPONSE, sequence)

    def bind(self, command: int, fields: Fields, connection: epollo.Connection) -> None:
        account, password = fields.text(16), fields.text(9)
        if connection.state is not None:
            raise Refused(BOUND)
        if self.passwords.get(account) != password:
            raise Refused(BAD_LOGIN)
        connection.state = Session(account, command != RECEIVER, command != TRANSMITTER)
        if connection.state.receives:
            self.receivers[account] += 1
            connection.join(account)

    def submit(self, sequence: int, fields: Fields, connection: epollo.Connection) -> None:
        session: Session | None = connection.state
        if session is None or not session.transmits:
            raise Refused(NOT_BOUND)
        message, number = message_of(fields), f"{next(self.message_ids):08d}"
        connection.send(pdu(SUBMIT | RESPONSE, sequence, number.encode() + b"\0"))
        reached = self.receivers[message.number] > 0
        self.deliver(message.number, message)
        if message.receipt == ALWAYS or (message.receipt == ON_FAILURE and not reached):
            self.deliver(session.account, receipt(message, number, reached))

    def deliver(self, account: str, message: Message) -> None:
        self.server.publish(account, pdu(DELIVER, next(self.sequence), encoded(message)))


class Fields:
    """The body of a PDU, read from its start."""

    def __init__(self, message: bytes) -> None:
        self.message, self.at = message, HEADER.size

    def take(self, size: int) -> bytes:
        self.at += size
        if self.at > len(self.message):
            raise Refused(BAD_LENGTH)
        return self.message[self.at - size : self.at]

    def byte(self) -> int:
        return self.take(1)[0]

    def string(self, most: int) -> bytes:
        """At most ``most`` bytes, of which NUL is the last (3.1)."""
        end = self.message.find(b"\0", self.at, self.at + most)
        if end < 0:
            raise Refused(BAD_LENGTH)
        return self.take(end + 1 - self.at)

    def text(self, most: int) -> str:
        return self.string(most)[:-1].decode("latin-1")

    def address(self) -> bytes:
        return self.take(2) + self.string(21)

    def rest(self) -> bytes:
        return self.take(len(self.message) - self.at)


def message_of(fields: Fields) -> Message:
    service, source, destination = fields.string(6), fields.address(), fields.address()
    esm_class, _protocol, _priority = fields.take(3)
    fields.string(17)  # when to deliver it: at once
    fields.string(17)  # until when to try: once
    registered, _replace, coding, _default_text = fields.take(4)
    text = fields.take(fields.byte())
    features, parameters = esm_class & FEATURES, fields.rest()
    return Message(service, source, destination, features, coding, text, parameters, registered & 3)


def encoded(message: Message) -> bytes:
    parts = (
        message.service + message.source + message.destination,
        bytes([message.esm_class, 0, 0, 0, 0, 0, 0, message.coding, 0, len(message.text)]),
        message.text + message.parameters,
    )
    return b"".join(parts)


def receipt(message: Message, number: str, reached: bool) -> Message:
    """A message back to its sender, whose text says what became of it (appendix B)."""
    now = time.strftime("%y%m%d%H%M")
    text = (
        f"id:{number} sub:001 dlvrd:{reached:03d} submit date:{now} done date:{now} "
        f"stat:{'DELIVRD' if reached else 'UNDELIV'} err:000 text:"
    )
    return Message(b"\0", message.destination, message.source, RECEIPT, 0, text.encode())


def pdu(command: int, sequence: int, body: bytes = b"", status: int = 0) -> bytes:
    return HEADER.pack(HEADER.size + len(body), command, status, sequence) + body


if __name__ == "__main__":
    epollo.serve(Center(*sys.argv[2:]), *sys.argv[1:2], framing="smpp", max_frame=MAX_FRAME)
