"""A DICOM application entity that answers C-ECHO, as a PACS does to "are you there?".

    python examples/dicom.py 127.0.0.1:11112
    epollo serve examples.dicom:Echo --framing dicom --max-frame 64KiB
    python -m pynetdicom echoscu 127.0.0.1 11112

DICOM PS3.8 for the association and its PDUs, PS3.7 for the command in them.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Iterator

import epollo

ASSOCIATE, ACCEPT, REJECT, DATA, RELEASE, RELEASED, ABORT = range(1, 8)  # PDUs
APPLICATION, CONTEXT, CONTEXT_ANSWER, ABSTRACT, TRANSFER, USER = 0x10, 0x20, 0x21, 0x30, 0x40, 0x50
MAX_LENGTH, IMPLEMENTATION = 0x51, 0x52  # items of the user's information
ACCEPTED, NO_ABSTRACT, NO_TRANSFER = 0, 3, 4  # results of a presentation context
COMMAND, LAST = 1, 2  # flags of a fragment

VERIFICATION = b"1.2.840.10008.1.1"
IMPLICIT_LITTLE_ENDIAN = b"1.2.840.10008.1.2"
OWN_NAME = b"2.25.302015874021987442386508413726945711342"  # a UUID as UID: PS3.5, B.2
C_ECHO, RESPONSE, NO_DATA_SET, SUCCESS = 0x30, 0x8000, 0x101, 0
LARGEST = 64 << 10  # bytes of a frame, and 6 fewer of a PDU as it counts them
LONGEST = 1 << 10  # bytes of a command


class Association:
    """What is remembered of a connection: its contexts, and what has come of a command."""

    def __init__(self, contexts: set[int]) -> None:
        self.contexts = contexts
        self.command = b""


class Echo:
    """Any name that it is called by is fine."""

    def received(
        self, message: bytes, connection: epollo.Connection[Association | None]
    ) -> list[bytes] | bytes | None:
        kind = message[0]
        try:
            if kind == ASSOCIATE and connection.state is None:
                return associate(message, connection)
            if kind == DATA and connection.state is not None:
                return list(data(message[6:], connection.state))
        except (ValueError, IndexError, KeyError, struct.error):
            kind = 0  # is answered below, as what should not have come
        connection.close()
        if kind == ABORT:
            return None
        if kind == RELEASE and connection.state is not None:
            return pdu(RELEASED, bytes(4))
        return pdu(ABORT, bytes([0, 0, 2, 0]))  # by the service provider


def associate(message: bytes, connection: epollo.Connection[Association | None]) -> bytes:
    """The answer to a request, PS3.8, 9.3.2: it takes the contexts for verification."""
    offers = list(items(message[74:]))
    if not offers or offers[0][0] != APPLICATION:
        raise ValueError("a request without an application")
    results = {
        content[0]: result(list(items(content[4:]))) for kind, content in offers if kind == CONTEXT
    }
    connection.state = Association({number for number in results if not results[number]})
    answers = [item(*offers[0])]
    for number, each in results.items():
        syntax = item(TRANSFER, IMPLICIT_LITTLE_ENDIAN)
        answers.append(item(CONTEXT_ANSWER, bytes([number, 0, each, 0]) + syntax))
    about = item(MAX_LENGTH, struct.pack(">I", LARGEST - 6)) + item(IMPLEMENTATION, OWN_NAME)
    return pdu(ACCEPT, message[6:74] + b"".join(answers) + item(USER, about))


def result(offered: list[tuple[int, bytes]]) -> int:
    """Of a presentation context: is it verification, in the encoding that all have to know?"""
    if (ABSTRACT, VERIFICATION) not in offered:
        return NO_ABSTRACT
    return ACCEPTED if (TRANSFER, IMPLICIT_LITTLE_ENDIAN) in offered else NO_TRANSFER


def data(fragments: bytes, association: Association) -> Iterator[bytes]:
    """The answers to the commands that end in these fragments, PS3.8, 9.3.5."""
    while fragments:
        size, context, flags = struct.unpack_from(">IBB", fragments)
        content, fragments = fragments[6 : 4 + size], fragments[4 + size :]
        association.command += content
        if (
            context not in association.contexts
            or not flags & COMMAND
            or len(content) != size - 2
            or len(association.command) > LONGEST
        ):
            raise ValueError("a fragment that belongs to no command")
        if flags & LAST:
            fields, association.command = elements(association.command), b""
            if struct.unpack("<H", fields[0x100])[0] != C_ECHO:
                raise ValueError("a command other than C-ECHO")
            yield pdu(DATA, fragment(context, response(fields)))


def response(fields: dict[int, bytes]) -> bytes:
    """PS3.7, 9.3.5.2."""
    answer = b"".join(
        [
            element(0x0002, VERIFICATION + b"\0"),
            element(0x0100, struct.pack("<H", C_ECHO | RESPONSE)),
            element(0x0120, fields[0x110]),  # the number of the request
            element(0x0800, struct.pack("<H", NO_DATA_SET)),
            element(0x0900, struct.pack("<H", SUCCESS)),
        ]
    )
    return element(0x0000, struct.pack("<I", len(answer))) + answer


def elements(command: bytes) -> dict[int, bytes]:
    """The elements of a command, all of group 0, by their number: PS3.7, 6.3.1."""
    found = {}
    while command:
        _, number, size = struct.unpack_from("<HHI", command)
        found[number], command = command[8 : 8 + size], command[8 + size :]
    return found


def items(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at < len(data):
        kind, size = struct.unpack_from(">BxH", data, at)
        yield kind, data[at + 4 : at + 4 + size]
        at += 4 + size


def item(kind: int, content: bytes) -> bytes:
    return struct.pack(">BxH", kind, len(content)) + content


def element(number: int, value: bytes) -> bytes:
    return struct.pack("<HHI", 0, number, len(value)) + value


def fragment(context: int, command: bytes) -> bytes:
    return struct.pack(">IBB", len(command) + 2, context, COMMAND | LAST) + command


def pdu(kind: int, content: bytes) -> bytes:
    return struct.pack(">BxI", kind, len(content)) + content


if __name__ == "__main__":
    epollo.serve(Echo(), *sys.argv[1:2], framing="dicom", max_frame=LARGEST)
