"""Messages of PostgreSQL, for the three servers beside this file: what they send is the same."""

from __future__ import annotations

import struct

SSL_REQUEST = struct.pack("!I", 80877103)
GSS_REQUEST = struct.pack("!I", 80877104)


def typed(kind: bytes, body: bytes) -> bytes:
    """A message: its type, then its length, which counts itself but not the type."""
    return kind + struct.pack("!I", len(body) + 4) + body


READY = typed(b"Z", b"I")
WELCOME = (
    typed(b"R", bytes(4)),  # AuthenticationOk
    typed(b"S", b"server_version\0" + b"16.0\0"),
    typed(b"S", b"client_encoding\0UTF8\0"),
    READY,
)
ROW = (
    typed(b"T", struct.pack("!H9sIHIhih", 1, b"?column?", 0, 0, 23, 4, -1, 0)),
    typed(b"D", struct.pack("!HI", 1, 1) + b"1"),
    typed(b"C", b"SELECT 1\0"),
    READY,
)
UNKNOWN = (typed(b"E", b"SERROR\0C0A000\0Monly select 1 is known here\0\0"), READY)


def answers_to(message: bytes) -> tuple[bytes, ...]:
    """What is sent for a message after the startup."""
    kind, body = message[:1], message[5:]
    if kind == b"X":  # Terminate: the client closes the connection
        return ()
    return ROW if kind == b"Q" and body.strip(b"\0 ;\n").lower() == b"select 1" else UNKNOWN
