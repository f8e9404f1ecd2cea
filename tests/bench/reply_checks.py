"""Functions that `--expect module:function` names in tests."""

from __future__ import annotations


def same(message: bytes, reply: bytes) -> bool:
    """Is the reply the message?"""
    return message == reply


def number(message: bytes) -> int:
    """The number in a message of the template ``{number}``, or in its reply."""
    return int(message)
