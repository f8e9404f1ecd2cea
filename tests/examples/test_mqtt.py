"""The MQTT broker as its protocol is written; mosquitto's clients and paho are in
``tests/services``."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import epollo
from epollo.reasons import CloseReason
from examples.mqtt import (
    CONNECT,
    DISCONNECT,
    MOST_FILTERS,
    PINGREQ,
    PINGRESP,
    PUBACK,
    PUBLISH,
    SUBACK,
    SUBSCRIBE,
    UNSUBACK,
    UNSUBSCRIBE,
    Broker,
    matches,
    packet,
)
from tests.engines import Engine
from tests.examples.support import both_ways
from tests.support import Peer, ServerProcess, closed

ACCEPTED = b"\x20\x02\0\0"
PING = packet(PINGREQ)
PONG = packet(PINGRESP)


@pytest.fixture
def broker(engine: Engine) -> Iterator[epollo.Server]:
    with engine.server(Broker(), framing="mqtt") as server:
        yield server


def text(value: str) -> bytes:
    return len(value.encode()).to_bytes(2, "big") + value.encode()


def hello(name: str = "ann", flags: int = 2, more: bytes = b"") -> bytes:
    return packet(CONNECT, text("MQTT") + bytes([4, flags, 0, 60]) + text(name) + more)


def subscribe(*filters: str, qos: int = 0) -> bytes:
    wanted = b"".join(text(each) + bytes([qos]) for each in filters)
    return packet(SUBSCRIBE, b"\0\7" + wanted, flags=2)


def published(topic: str, payload: bytes, qos: int = 0) -> bytes:
    number = b"\0\1" if qos else b""
    return packet(PUBLISH, text(topic) + number + payload, flags=qos << 1)


@pytest.mark.parametrize(
    ("pattern", "topic", "expected"),
    [  # 4.7 of the standard
        ("sport/tennis/player1/#", "sport/tennis/player1", True),
        ("sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon", True),
        ("sport/#", "sport", True),
        ("#", "a/b", True),
        ("sport/tennis/+", "sport/tennis/player1", True),
        ("sport/tennis/+", "sport/tennis/player1/ranking", False),
        ("sport/+", "sport", False),
        ("sport/+", "sport/", True),
        ("+/+", "/finance", True),
        ("/+", "/finance", True),
        ("+", "/finance", False),
        ("#", "$SYS/uptime", False),
        ("+/uptime", "$SYS/uptime", False),
        ("$SYS/#", "$SYS/uptime", True),
        ("ACCOUNTS", "Accounts", False),
    ],
)
def test_a_filter_matches_topics(pattern: str, topic: str, expected: bool) -> None:
    assert matches(pattern, topic) is expected


def test_pipelined_packets_are_answered_in_order(broker: epollo.Server) -> None:
    with Peer(broker.addresses[0]) as peer:
        peer.send(hello() + subscribe("a/#", "b") + published("a/x", b"1", qos=1) + PING)
        expected = ACCEPTED + packet(SUBACK, b"\0\7\0\0") + published("a/x", b"1")
        expected += packet(PUBACK, b"\0\1") + PONG
        assert peer.receive(len(expected)) == expected
        peer.send(
            packet(UNSUBSCRIBE, b"\0\1" + text("a/#"), flags=2) + published("a/x", b"2") + PING
        )
        expected = packet(UNSUBACK, b"\0\1") + PONG
        assert peer.receive(len(expected)) == expected
        peer.send(packet(DISCONNECT) + PING)
        assert peer.receive_until_gone() == b""


@pytest.mark.parametrize(
    ("first", "answer"),
    [
        (packet(CONNECT, text("MQTT") + bytes([5, 2, 0, 60, 0]) + text("")), b"\x20\x02\0\1"),
        (packet(CONNECT, text("MQIsdp") + bytes([3, 2, 0, 60]) + text("x")), b"\x20\x02\0\1"),
        (hello("", flags=0), b"\x20\x02\0\2"),
    ],
)
def test_who_is_not_accepted_is_told_why(
    broker: epollo.Server, first: bytes, answer: bytes
) -> None:
    with Peer(broker.addresses[0]) as peer:
        peer.send(first + PING)
        assert peer.receive_until_gone() == answer


@pytest.mark.parametrize(
    "malformed",
    [
        PING,
        packet(CONNECT),
        packet(CONNECT, text("MQTT") + b"\4"),
        hello("a\0b"),
        hello(flags=6, more=text("will") + b"\0\7text"),
        hello(flags=6, more=text("w/#") + text("text")),
        hello() + hello(),
        hello() + packet(0),
        hello() + packet(15),
        hello() + packet(6, b"\0\1", flags=2),
        hello() + packet(PINGREQ, flags=1),
        hello() + packet(PUBLISH),
        hello() + published("", b"text"),
        hello() + published("a/+", b"text"),
        hello() + published("a", b"text", qos=2),
        hello() + published("a", b"text", qos=3),
        hello() + packet(PUBLISH, text("a") + b"\0\0text", flags=2),
        hello() + packet(PUBLISH, b"\0\2\xff\xfetext"),
        hello() + packet(SUBSCRIBE, b"\0\1", flags=2),
        hello() + packet(SUBSCRIBE, b"\0\1" + text("a") + b"\0", flags=0),
        hello() + subscribe("a", qos=3),
        hello() + subscribe(""),
        hello() + subscribe("a/#/b"),
        hello() + subscribe("a#"),
        hello() + subscribe("a+/b"),
        hello() + packet(UNSUBSCRIBE, b"\0\1", flags=2),
    ],
)
def test_a_malformed_packet_ends_its_connection_only(
    broker: epollo.Server, malformed: bytes
) -> None:
    with Peer(broker.addresses[0]) as other, Peer(broker.addresses[0]) as peer:
        other.send(hello("other"))
        assert other.receive(4) == ACCEPTED
        peer.send(malformed + PING)
        assert peer.receive_until_gone() in (b"", ACCEPTED)
        assert closed(broker, CloseReason.BAD_FRAME) == 1
        other.send(PING)
        assert other.receive(2) == PONG


def test_a_client_has_a_limited_number_of_filters(broker: epollo.Server) -> None:
    with Peer(broker.addresses[0]) as peer:
        peer.send(hello() + subscribe(*(f"a/{n}" for n in range(MOST_FILTERS + 1)), qos=1))
        expected = ACCEPTED + packet(SUBACK, b"\0\7" + b"\1" * MOST_FILTERS + b"\x80")
        assert peer.receive(len(expected)) == expected
        peer.send(subscribe("a/0", qos=2))  # which it has already
        assert peer.receive(5) == packet(SUBACK, b"\0\7\1")


def test_what_a_client_had_is_forgotten(engine: Engine) -> None:
    broker = Broker()
    with engine.server(broker, framing="mqtt") as server:
        for _ in range(2):
            with Peer(server.addresses[0]) as peer:
                peer.send(hello() + subscribe("a", "b", "a", qos=1))
                assert peer.receive(4) == ACCEPTED
                peer.end()
                peer.receive_all()
        closed(server, CloseReason.EOF)
    assert (broker.clients, broker.filters) == ({}, {})


@both_ways("mqtt", "Broker", "--framing", "mqtt")
def test_the_program(server: ServerProcess) -> None:
    with Peer(server.address) as peer:
        peer.send(hello("", more=b"") + PING)
        assert peer.receive(6) == ACCEPTED + PONG
