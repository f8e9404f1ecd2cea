"""The letters by which several runs are named."""

from __future__ import annotations


def letter(number: int) -> str:
    """The name of one of several runs: A, B, ... Z, A2, B2 and so on."""
    return chr(ord("A") + number % 26) + (str(number // 26 + 1) if number >= 26 else "")
