"""Protocols, with frames of real programs and specifications, and the framing that serves each."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

# Of the rows of protocols.json without a framing.
_FRAMINGS = {
    "ISO 8583, 4 ASCII digits": "digits(size=4)",
    "ISO 8583, 2-byte BCD": "bcd(size=2)",
    "FIX tag=value": "fix",
    "FIX, heartbeats and logon": "fix",
    "syslog RFC 6587 octet counting": "syslog",
    "PostgreSQL v3, startup then typed": "postgresql",
    "Redis RESP": "redis",
    "Redis RESP with a value that has CR LF": "redis",
    "NATS with a payload that has CR LF": "nats",
    "AMQP 0-9-1 incl. its protocol header": "amqp",
    "LSP/DAP": "lsp",
    "SIP/HTTP1/RTSP": "sip",
    "Fluent forward (msgpack)": "msgpack",
    "WebSocket frames": "websocket",
    "MQTT": "mqtt",
    "LDAP": "ldap",
    "MLLP": "mllp",
    "STOMP": "stomp",
    "NMEA 0183": "nmea",
    "Content-Length headers (LSP, SIP)": "headers",
}


class Row(NamedTuple):
    """A protocol: its framing, its frames, and the message in each."""

    protocol: str
    framing: str
    frames: list[bytes]
    messages: list[bytes]


def _row(read: dict[str, Any]) -> Row:
    protocol = read["protocol"]
    framing = read.get("framing") or _FRAMINGS[protocol]
    frames, messages = (
        [bytes.fromhex(text) for text in read[key]] for key in ("frames", "messages")
    )
    return Row(protocol, framing, frames, messages)


def _rows(name: str) -> list[Row]:
    read = json.loads((Path(__file__).parent / name).read_text())
    return [_row(row) for row in read]


ROWS = [*_rows("protocols.json"), *_rows("more_protocols.json")]
