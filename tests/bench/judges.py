"""Functions that `--expect module:function` names in tests."""

from __future__ import annotations


def same(message: bytes, reply: bytes) -> bool:
    """Is the reply the message?"""
    return message == reply


def number(message: bytes) -> int:
    """The number that a message of the template ``{number}`` has, and that its reply has too."""
    return int(message)
