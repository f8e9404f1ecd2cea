"""Functions that `--expect module:function` names in tests."""

from __future__ import annotations

import time
from collections import Counter

import bson


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
