"""A server that speaks enough of MongoDB's wire protocol for pymongo; its first line is its port.

    python -m tests.bench.mongodb_peer

A message is 16 bytes of header, little-endian: length, its own number, the number that it answers,
kind; then, in an OP_MSG, flags and one section with a document (MongoDB Wire Protocol, OP_MSG). To
`{"twice": N}` it replies `{"ok": 1, "result": 2 * N}`, and to pymongo's `hello` what that needs.
"""

from __future__ import annotations

import itertools
import socketserver
import struct
from typing import Any

import bson

HEADER = struct.Struct("<iiii")
OP_MSG = 2013
OP_QUERY, OP_REPLY = 2004, 1  # what a client of any age opens a connection with
_HELLO = {"ok": 1, "isWritablePrimary": True, "ismaster": True, "maxWireVersion": 21}


def message(number: int, document: dict[str, Any], answers: int = 0) -> bytes:
    """An OP_MSG."""
    body = struct.pack("<IB", 0, 0) + bson.encode(document)
    return HEADER.pack(HEADER.size + len(body), number, answers, OP_MSG) + body


def document(data: bytes) -> dict[str, Any]:
    """Of an OP_MSG with one section, which is a document."""
    return dict(bson.decode(data[HEADER.size + 5 :]))


class Peer(socketserver.StreamRequestHandler):
    """One connection."""

    disable_nagle_algorithm = True

    def handle(self) -> None:
        for own in itertools.count(1):
            head = self.rfile.read(HEADER.size)
            if len(head) < HEADER.size:
                return
            size, number, _, kind = HEADER.unpack(head)
            data = head + self.rfile.read(size - HEADER.size)
            reply = (
                _old_hello(own, number) if kind != OP_MSG else message(own, _answer(data), number)
            )
            self.wfile.write(reply)


def _old_hello(own: int, answers: int) -> bytes:
    """An OP_REPLY."""
    body = struct.pack("<iqii", 0, 0, 0, 1) + bson.encode(_HELLO)
    return HEADER.pack(HEADER.size + len(body), own, answers, OP_REPLY) + body


def _answer(data: bytes) -> dict[str, Any]:
    asked = document(data)
    return {"ok": 1, "result": 2 * asked["twice"]} if "twice" in asked else _HELLO


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True


def main() -> None:
    """Serve until it is killed."""
    with _Server(("127.0.0.1", 0), Peer) as server:
        print(server.server_address[1], flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
