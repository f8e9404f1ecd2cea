"""A handler whose replies a load tester counts as wrong."""

from __future__ import annotations


def shout(message: bytes) -> bytes:
    return bytes(byte ^ 1 for byte in message)
