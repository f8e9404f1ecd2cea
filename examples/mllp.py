"""An HL7 receiver: messages come over MLLP, and are acknowledged once they are stored.

    python examples/mllp.py 127.0.0.1:2575 inbox
    epollo serve examples.mllp:Inbox --framing mllp
    mllp_send --port 2575 --file admit.hl7 127.0.0.1

HL7 2.5.1, chapter 2, for messages and for acknowledgements by the original processing rules.
"""

from __future__ import annotations

import hashlib
import secrets
import sys
import time
from pathlib import Path
from typing import NamedTuple

import epollo

ACCEPTED, FAILED, REJECTED = b"AA", b"AE", b"AR"  # table 0008; what failed may be sent again


class Header(NamedTuple):
    """What an acknowledgement needs of a message's first segment, MSH."""

    separator: bytes = b"|"
    encoding: bytes = b"^~\\&"
    sender: tuple[bytes, bytes] = (b"", b"")  # application and facility
    receiver: tuple[bytes, bytes] = (b"", b"")
    control_id: bytes = b""
    processing: bytes = b"P"
    version: bytes = b"2.5.1"


class Inbox:
    """Stores each message in a file, named by its content: one that is sent again is there once."""

    def __init__(self, folder: str = "inbox") -> None:
        self.folder = Path(folder)
        self.folder.mkdir(exist_ok=True)

    def received(self, message: bytes) -> bytes:
        try:
            header = header_of(message)
        except ValueError as error:
            return acknowledgement(Header(), REJECTED, str(error))
        try:
            self._store(message)
        except OSError as error:
            return acknowledgement(header, FAILED, f"not stored: {error.strerror}")
        return acknowledgement(header, ACCEPTED)

    def _store(self, message: bytes) -> None:
        file = self.folder / f"{hashlib.sha256(message).hexdigest()}.hl7"
        if not file.exists():
            part = file.with_suffix(".part")
            part.write_bytes(message)
            part.rename(file)  # there is all of it, or nothing


def header_of(message: bytes) -> Header:
    """Raises ValueError for what cannot be acknowledged by its control id."""
    segment = message.partition(b"\r")[0]
    separator = segment[3:4]
    if segment[:3] != b"MSH" or separator.isalnum():
        raise ValueError("the message does not begin with MSH and a separator")
    if min(segment) < 0x20:
        raise ValueError("MSH has a control character in it")
    fields = segment.split(separator)  # MSH-2 is fields[1]
    if len(fields) < 12 or not fields[9]:
        raise ValueError("MSH has no control id (MSH-10), or ends before its version (MSH-12)")
    return Header(
        separator,
        encoding=fields[1],
        sender=(fields[2], fields[3]),
        receiver=(fields[4], fields[5]),
        control_id=fields[9],
        processing=fields[10],
        version=fields[11],
    )


def acknowledgement(header: Header, code: bytes, text: str = "") -> bytes:
    msh = (
        b"MSH",
        header.encoding,
        *header.receiver,
        *header.sender,
        time.strftime("%Y%m%d%H%M%S").encode(),
        b"",
        b"ACK",
        secrets.token_hex(10).encode(),  # its own control id
        header.processing,
        header.version,
    )
    msa = (b"MSA", code, header.control_id, text.encode())
    return b"".join(header.separator.join(segment) + b"\r" for segment in (msh, msa))


if __name__ == "__main__":
    epollo.serve(Inbox(*sys.argv[2:3]), *sys.argv[1:2], framing="mllp")
