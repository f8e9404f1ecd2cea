"""The application of every peer."""

from __future__ import annotations


def handle(message: bytes) -> bytes:
    """The reply to one message: the message itself."""
    return message
