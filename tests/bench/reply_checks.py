"""Functions that `--expect module:function` names in tests."""

from __future__ import annotations

import time
from collections import Counter

import bson

from epollo import framing


def same(message: bytes, reply: bytes) -> bool:
    """Is the reply the message?"""
    return message == reply


def number(message: bytes) -> int:
    """The number in a message of the template ``{number}``, or in its reply."""
    return int(message)


def registers(message: bytes, reply: bytes) -> bool:
    """Does a Modbus reply have the registers asked for, each with its number in it?"""
    first, count = int.from_bytes(message[8:10], "big"), int.from_bytes(message[10:12], "big")
    values = b"".join(number.to_bytes(2, "big") for number in range(first, first + count))
    return reply[:2] == message[:2] and reply[6:] == message[6:8] + bytes([len(values)]) + values


class Increments:
    """Does each reply to Redis' ``INCR key`` have one more than the reply before it?"""

    def __init__(self) -> None:
        self._values: Counter[bytes] = Counter()

    def __call__(self, message: bytes, reply: bytes) -> bool:
        key = message.removeprefix(b"INCR ")
        self._values[key] += 1
        return reply == b":%d" % self._values[key]


def redis_value(key: bytes) -> bytes:
    """The value under a key of 57 bytes, of 57 bytes too."""
    return key[::-1]


def redis_bulk(message: bytes, reply: bytes) -> bool:
    """Is the reply to Redis' ``GET key`` the value under that key?"""
    value = redis_value(message.removeprefix(b"GET ").rstrip())
    return reply == b"$%d\r\n%b\r\n" % (len(value), value)


def mysql(message: bytes, reply: bytes) -> bool:
    """Does MySQL's reply to COM_PING say OK, and that to SIGNAL have the text of its message?"""
    if reply[3] != 1:  # the packet's number in its exchange
        return False
    if message[4:] == b"\x0e":
        return reply[4:5] == b"\x00"
    text = message.rpartition(b"=")[2].strip(b"' ")
    return reply[4:5] == b"\xff" and reply.endswith(b"#45000" + text)


def mongodb_twice(message: bytes, reply: bytes) -> bool:
    """Does MongoDB's reply answer that message, and have its number twice?"""
    asked, answer = bson.decode(message[21:]), bson.decode(reply[21:])
    return reply[8:12] == message[4:8] and answer == {"ok": 1, "result": 2 * asked["twice"]}


def sockperf(message: bytes, reply: bytes) -> bool:
    """Is sockperf's reply the message, without the flag of a client?"""
    return reply == message[:9] + bytes([message[9] & ~1]) + message[10:]


def same_after_50_ms(message: bytes, reply: bytes) -> bool:
    """The same, by a function that takes too long."""
    time.sleep(0.05)
    return message == reply


class PostgreSQL(framing.Sized):
    """Replies of PostgreSQL's server: all messages up to ReadyForQuery are one. What a client sends
    is a whole message of its own, also the first one, which has no type."""

    def measure(self, header: framing.Header) -> int | None:
        at = header.state or 0  # where a message begins
        while len(header) >= at + 5:
            kind, at = header[at], at + 1 + int.from_bytes(header[at + 1 : at + 5], "big")
            if kind == ord("Z"):
                return at
            header.state = at
        return None

    def encode(self, message: framing.Buffer) -> bytes:
        return bytes(message)


def postgresql_row(message: bytes, reply: bytes) -> bool:
    """Is the reply to ``select 'TEXT'`` one row with that text?"""
    text = message[5:].rstrip(b"\0").split(b"'")[1]
    row = b"D" + (10 + len(text)).to_bytes(4, "big") + b"\0\1" + len(text).to_bytes(4, "big")
    return reply[:1] == b"T" and row + text + b"C\0\0\0\x0dSELECT 1\0Z\0\0\0\x05I" in reply


def mqtt_acknowledged(message: bytes, reply: bytes) -> bool:
    """Does MQTT's PUBACK have the number of the message, which stands behind its topic?"""
    size = int.from_bytes(message[2:4], "big")
    return reply == b"\x40\x02" + message[4 + size : 6 + size]


def ldap_compared(message: bytes, reply: bytes) -> bool:
    """Has LDAP's reply the number of the request, and does it say whether the value is right?"""
    code = b"\x06" if message.endswith(b"cn=here") else b"\x05"
    return reply[2:6] == message[2:6] and reply[6:] == b"\x6f\x07\x0a\x01" + code + b"\4\0\4\0"


def nats_ok(message: bytes, reply: bytes) -> bool:
    """Is the reply that of nats-server to what it takes?"""
    return reply.rstrip() == b"+OK"
