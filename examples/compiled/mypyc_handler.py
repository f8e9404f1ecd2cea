"""Echo for mypyc: Python with types, which mypyc compiles as it is."""

from __future__ import annotations


def handle(message: bytes) -> bytes:
    """The reply to one message: the message itself."""
    return message
