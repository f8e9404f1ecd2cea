"""How a fuzzer tells what it found."""

from __future__ import annotations


class Difference(AssertionError):
    """The engines do not agree; or one of them does not do what is promised."""


def short(what: object) -> str:
    text = repr(what)
    return text if len(text) < 600 else f"{text[:400]} ... {text[-180:]} ({len(text)} characters)"
