"""The broker, as the protocol guide has it."""

from __future__ import annotations

import struct

import pytest

import epollo
import epollo.testing
from epollo import address
from examples.kafka import Broker
from tests.examples.hostile import survives


def request(key: int, version: int, body: bytes = b"") -> bytes:
    return struct.pack(">hhih", key, version, 5, 4) + b"test" + body


@pytest.mark.parametrize("version", [0, 1])
def test_old_and_new_clients_get_all_topics(version: int) -> None:
    ask = request(3, version, struct.pack(">i", 0 if version == 0 else -1))
    with (
        epollo.Server(Broker(one=1), "127.0.0.1:0", framing="kafka") as server,
        epollo.connect(server.addresses[0], framing="kafka") as asking,
    ):
        answer = asking.request(ask)
    port = address.parse(server.addresses[0]).port
    broker = struct.pack(">iih9si", 1, 1, 9, b"127.0.0.1", port)
    partition = struct.pack(">ihiiiiii", 1, 0, 0, 1, 1, 1, 1, 1)
    head = struct.pack(">i", 5) + broker
    if version == 0:
        assert answer == head + struct.pack(">ihh3s", 1, 0, 3, b"one") + partition
    else:
        topics = struct.pack(">hiihh3s?", -1, 1, 1, 0, 3, b"one", False)
        assert answer == head + topics + partition


def test_a_later_version_is_told_which_are_known() -> None:
    with epollo.testing.connect(Broker(), framing="kafka") as connection:
        [answer] = connection.receive(request(18, 4, b"\0"))
        assert answer == struct.pack(">ihi", 5, 35, 2) + struct.pack(">6h", 3, 0, 1, 18, 0, 0)


def test_no_message_makes_it_raise() -> None:
    names = b"".join(struct.pack(">h6s", 6, name) for name in (b"orders", b"refund"))
    ask = request(3, 1, struct.pack(">i", 2) + names)
    survives(Broker(), "kafka", [ask], [request(18, 0)])
