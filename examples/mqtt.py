"""An MQTT broker: QoS 0 and 1, wildcards and wills.

    python examples/mqtt.py 127.0.0.1:1883
    epollo serve examples.mqtt:Broker --framing mqtt
    mosquitto_sub -v -t 'home/#'
    mosquitto_pub -q 1 -t home/kitchen -m 21.5

MQTT 3.1.1, https://docs.oasis-open.org/mqtt/mqtt/v3.1.1/, whose sections the comments name. A
session ends with its connection; no message is retained.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count

import epollo

CONNECT, CONNACK, PUBLISH, PUBACK, SUBSCRIBE, SUBACK = 1, 2, 3, 4, 8, 9  # types (2.2.1)
UNSUBSCRIBE, UNSUBACK, PINGREQ, PINGRESP, DISCONNECT = 10, 11, 12, 13, 14
ACCEPTED, BAD_VERSION, BAD_NAME = 0, 1, 2  # answers to CONNECT (3.2.2.3)
CLEAN, WILL, PASSWORD, USER = 0x02, 0x04, 0x40, 0x80  # flags of CONNECT (3.1.2)
REFUSED = 0x80  # in SUBACK

MOST_FILTERS = 100  # of a client: each of them costs time for every message


class Malformed(Exception):
    """A packet that ends its connection (4.8)."""


@dataclass
class Message:
    topic: str
    payload: bytes
    qos: int


@dataclass
class Client:
    """The state of a connection."""

    name: str
    will: Message | None
    filters: dict[str, int] = field(default_factory=dict)  # the QoS granted for each


class Broker:
    """A topic filter is two groups of connections: one for each QoS that was granted."""

    def __init__(self) -> None:
        self.clients: dict[str, epollo.Connection[Client]] = {}
        self.filters: Counter[str] = Counter()  # how many clients have each
        self.numbers = count(1)

    def started(self, server: epollo.Server) -> None:
        self.server = server

    def received(self, packet: bytes, connection: epollo.Connection) -> bytes | None:
        try:
            return self.answer(packet[0] >> 4, packet[0] & 15, Fields(packet), connection)
        except (Malformed, UnicodeDecodeError):
            connection.abort(epollo.CloseReason.BAD_FRAME)
            return None

    def disconnected(self, connection: epollo.Connection, reason: epollo.CloseReason) -> None:
        client: Client | None = connection.state
        if client is None:
            return
        self.filters -= Counter(list(client.filters))
        if self.clients.get(client.name) is connection:
            del self.clients[client.name]
        if client.will is not None:
            self.publish(client.will)

    def answer(
        self, kind: int, flags: int, fields: Fields, connection: epollo.Connection
    ) -> bytes | None:
        if (connection.state is None) != (kind == CONNECT):
            raise Malformed("CONNECT is not the first packet, or comes twice")  # (3.1)
        if kind == PUBLISH:
            return self.receive(flags >> 1 & 3, fields)
        if flags != (2 if kind in (SUBSCRIBE, UNSUBSCRIBE) else 0):
            raise Malformed("reserved flags are set")  # (2.2.2)
        if kind == CONNECT:
            return self.connect(fields, connection)
        if kind == SUBSCRIBE:
            return self.subscribe(fields, connection)
        if kind == UNSUBSCRIBE:
            return self.unsubscribe(fields, connection)
        if kind == PINGREQ:
            return packet(PINGRESP)
        if kind == DISCONNECT:
            connection.state.will = None  # (3.14.4)
            connection.close()
        elif kind != PUBACK:  # nothing is sent again in a session, so nobody waits for this one
            raise Malformed(f"packets of type {kind} are not for this broker")
        return None

    def connect(self, fields: Fields, connection: epollo.Connection) -> bytes:
        if (fields.text(), fields.byte()) != ("MQTT", 4):
            connection.close()
            return packet(CONNACK, bytes([0, BAD_VERSION]))
        flags, _keep_alive = fields.byte(), fields.number()
        name, will = fields.text(), None
        if flags & WILL:
            will = Message(fields.topic(), fields.data(), min(flags >> 3 & 3, 1))
        for credential in (USER, PASSWORD):
            if flags & credential:
                fields.data()  # everybody is let in
        if not name and not flags & CLEAN:  # (3.1.3.1)
            connection.close()
            return packet(CONNACK, bytes([0, BAD_NAME]))
        connection.state = Client(name or f"client-{next(self.numbers)}", will)
        if before := self.clients.get(connection.state.name):
            before.close()  # (3.1.4)
        self.clients[connection.state.name] = connection
        return packet(CONNACK, bytes([0, ACCEPTED]))

    def receive(self, qos: int, fields: Fields) -> bytes | None:
        topic = fields.topic()
        if qos > 1:
            raise Malformed(f"QoS {qos} is not supported")
        acknowledgement = packet(PUBACK, fields.packet_id()) if qos else None
        self.publish(Message(topic, fields.rest(), qos))
        return acknowledgement

    def publish(self, message: Message) -> None:
        for each in self.filters:
            if matches(each, message.topic):
                for granted in (0, 1):
                    self.server.publish(f"{granted} {each}", self.encoded(message, granted))

    def encoded(self, message: Message, granted: int) -> bytes:
        """All subscribers get the same packet identifier, which returns after 65,535 others."""
        qos = min(message.qos, granted)
        number = (next(self.numbers) % 0xFFFF + 1).to_bytes(2, "big") if qos else b""
        topic = message.topic.encode()
        body = len(topic).to_bytes(2, "big") + topic + number + message.payload
        return packet(PUBLISH, body, flags=qos << 1)

    def subscribe(self, fields: Fields, connection: epollo.Connection[Client]) -> bytes:
        number, granted, client = fields.packet_id(), bytearray(), connection.state
        for each, qos in fields.filters(with_qos=True):
            self.forget(each, connection)
            if len(client.filters) == MOST_FILTERS:
                granted.append(REFUSED)
                continue
            client.filters[each] = min(qos, 1)
            self.filters[each] += 1
            connection.join(f"{client.filters[each]} {each}")
            granted.append(client.filters[each])
        return packet(SUBACK, number + granted)

    def unsubscribe(self, fields: Fields, connection: epollo.Connection[Client]) -> bytes:
        number = fields.packet_id()
        for each, _ in fields.filters(with_qos=False):
            self.forget(each, connection)
        return packet(UNSUBACK, number)

    def forget(self, each: str, connection: epollo.Connection[Client]) -> None:
        granted = connection.state.filters.pop(each, None)
        if granted is not None:
            connection.leave(f"{granted} {each}")
            self.filters -= Counter([each])  # which drops what nobody has any more


class Fields:
    """The content of a packet, read from its start (1.5)."""

    def __init__(self, packet: bytes) -> None:
        self.packet, self.at = packet, 1
        while packet[self.at] & 0x80:  # the length of the rest, which the framing has checked
            self.at += 1
        self.at += 1

    def take(self, size: int) -> bytes:
        self.at += size
        if self.at > len(self.packet):
            raise Malformed("the packet ends too early")
        return self.packet[self.at - size : self.at]

    def byte(self) -> int:
        return self.take(1)[0]

    def number(self) -> int:
        return int.from_bytes(self.take(2), "big")

    def packet_id(self) -> bytes:
        if (number := self.take(2)) == b"\0\0":
            raise Malformed("a packet identifier is 0")  # (2.3.1)
        return number

    def data(self) -> bytes:
        return self.take(self.number())

    def rest(self) -> bytes:
        return self.take(len(self.packet) - self.at)

    def text(self) -> str:
        text = self.data().decode()
        if "\0" in text:
            raise Malformed("a text has U+0000 in it")  # (1.5.3)
        return text

    def topic(self) -> str:
        topic = self.text()
        if not topic or "+" in topic or "#" in topic:
            raise Malformed("a topic is empty, or has a wildcard in it")  # (4.7)
        return topic

    def filters(self, with_qos: bool) -> Iterator[tuple[str, int]]:
        """Topic filters, at least one, each with the QoS that is wanted for it, or 0."""
        while True:
            *levels, last = (text := self.text()).split("/")
            wildcards = [level for level in (*levels, last) if "+" in level or "#" in level]
            if not text or "#" in levels or not {"+", "#"}.issuperset(wildcards):
                raise Malformed("a filter is empty, or its wildcards are at the wrong place")
            qos = self.byte() if with_qos else 0
            if qos > 2:
                raise Malformed(f"QoS {qos} does not exist")
            yield text, qos
            if self.at == len(self.packet):
                return


def matches(pattern: str, topic: str) -> bool:
    if topic[0] == "$" and pattern[0] in "+#":  # (4.7.2)
        return False
    wanted, levels = pattern.split("/"), topic.split("/")
    if wanted[-1] == "#":  # any levels that follow, or none
        del wanted[-1]
        del levels[len(wanted) :]
    return len(wanted) == len(levels) and all(
        each in ("+", level) for each, level in zip(wanted, levels, strict=True)
    )


def packet(kind: int, body: bytes = b"", flags: int = 0) -> bytes:
    """A type, the length of the body, seven bits a byte, and the body (2.2)."""
    head, left = bytearray([kind << 4 | flags]), len(body)
    while left > 0x7F:
        head.append(left & 0x7F | 0x80)
        left >>= 7
    return bytes(head) + bytes([left]) + body


if __name__ == "__main__":
    epollo.serve(Broker(), *sys.argv[1:2], framing="mqtt")
