"""The part of a Kafka broker that clients ask first: its requests, its topics, and who has them.

    python examples/kafka.py 127.0.0.1:9092
    epollo serve examples.kafka:Broker --framing kafka
    kcat -L -b 127.0.0.1:9092

Apache Kafka's protocol guide; the requests here are ApiVersions and Metadata.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Iterable

import epollo

METADATA, API_VERSIONS = 3, 18
VERSIONS = {METADATA: (0, 1), API_VERSIONS: (0, 0)}  # the first and the last that is known here
NO_ERROR, UNKNOWN_TOPIC, UNSUPPORTED_VERSION = 0, 3, 35
BROKER = 1  # the number of the only one
LARGEST = 64 << 10  # bytes of a request


class Broker:
    """Any number of topics, each with its number of partitions."""

    def __init__(self, **topics: int) -> None:
        self._topics = topics or {"orders": 3, "payments": 1}

    def received(self, message: bytes, connection: epollo.Connection) -> bytes | None:
        try:
            if len(message) > LARGEST:
                raise ValueError("a request of many topics")
            request, version, number, size = struct.unpack_from(">hhih", message)
            body = message[10 + max(size, 0) :]  # behind the client's name, which may be null
            return struct.pack(">i", number) + self._answer(request, version, body, connection)
        except (ValueError, struct.error):
            connection.close()  # as brokers do with a request that they do not know
            return None

    def _answer(
        self, request: int, version: int, body: bytes, connection: epollo.Connection
    ) -> bytes:
        first, last = VERSIONS.get(request, (0, -1))
        if request == API_VERSIONS:  # of a later version too: then the client asks again
            error = NO_ERROR if first <= version <= last else UNSUPPORTED_VERSION
            return struct.pack(">h", error) + array(
                struct.pack(">hhh", key, *versions) for key, versions in VERSIONS.items()
            )
        if not first <= version <= last:
            raise ValueError(f"request {request} of version {version}")
        return self._metadata(version, topics_in(body, version), connection.sockname)

    def _metadata(self, version: int, asked: list[str] | None, address: str) -> bytes:
        host, _, port = address.rpartition(":")
        broker = struct.pack(">i", BROKER) + string(host.strip("[]")) + struct.pack(">i", int(port))
        names = self._topics if asked is None else asked
        topics = array(self._topic(version, name) for name in names)
        if version == 0:
            return array([broker]) + topics
        no_rack = struct.pack(">h", -1)
        return array([broker + no_rack]) + struct.pack(">i", BROKER) + topics

    def _topic(self, version: int, name: str) -> bytes:
        error = NO_ERROR if name in self._topics else UNKNOWN_TOPIC
        internal = b"" if version == 0 else b"\0"
        brokers = struct.pack(">ii", 1, BROKER)  # those that have it, and those that are up to date
        partitions = array(
            struct.pack(">hii", NO_ERROR, number, BROKER) + brokers * 2
            for number in range(self._topics.get(name, 0))
        )
        return struct.pack(">h", error) + string(name) + internal + partitions


def topics_in(body: bytes, version: int) -> list[str] | None:
    """Those that a Metadata request asks for; None for all."""
    (count,), at = struct.unpack_from(">i", body), 4
    names = []
    for _ in range(count):
        (size,) = struct.unpack_from(">h", body, at)
        if size < 0:
            raise ValueError("a topic without a name")
        names.append(body[at + 2 : at + 2 + size].decode())
        at += 2 + size
    return None if count < 0 or (not count and not version) else names


def array(elements: Iterable[bytes]) -> bytes:
    found = list(elements)
    return struct.pack(">i", len(found)) + b"".join(found)


def string(text: str) -> bytes:
    return struct.pack(">h", len(text.encode())) + text.encode()


if __name__ == "__main__":
    epollo.serve(Broker(), *sys.argv[1:2], framing="kafka")
