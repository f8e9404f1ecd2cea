"""Numbers of things in a message: 1 byte, 2 bytes."""

from __future__ import annotations


def counted(number: int, thing: str) -> str:
    """``number`` and ``thing``, which is its plural with an s unless the number is 1."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"
