"""Messages that a client of the protocol would not send, for a handler in memory."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import Any

import epollo.testing
from epollo.framing import parse

BYTES = (0x00, 0x01, 0x7F, 0x80, 0xFF)
CHANCES = 300


def survives(handler: Any, framing: str, *conversations: Sequence[bytes]) -> None:
    """Nothing that may come in place of the last message of a conversation makes ``handler``
    raise: what it raised would be raised here. What is no frame of ``framing`` never reaches it."""
    how = parse(framing)
    for *before, last in conversations:
        for message in changed(last):
            try:
                how.encode(message)
            except epollo.EncodeError:
                continue
            with epollo.testing.connect(handler, framing=framing) as connection:
                for each in (*before, message):
                    if not connection.closed:
                        connection.receive(each)


def changed(message: bytes) -> Iterator[bytes]:
    """``message`` cut short, lengthened, with a byte changed, and with several."""
    yield message
    yield message + message
    for at in range(len(message)):
        yield message[:at]
        yield message[:at] + message[at + 1 :]
        for byte in BYTES:
            yield message[:at] + bytes([byte]) + message[at + 1 :]
    chance = random.Random(len(message))  # noqa: S311 # the same in each run
    for _ in range(CHANCES):
        mixed = bytearray(message)
        for _ in range(chance.randint(2, 8)):
            mixed[chance.randrange(len(mixed))] = chance.randrange(256)
        yield bytes(mixed)
