"""A handler whose replies are wrong for a load tester."""

from __future__ import annotations


def shout(message: bytes) -> bytes:
    return bytes(byte ^ 1 for byte in message)
