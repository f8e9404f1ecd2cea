"""Functions that `--expect module:function` names in tests."""

from __future__ import annotations


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
