"""The name that somebody may have meant, for an error about a name that does not exist."""

from __future__ import annotations

from collections.abc import Iterable

_LONGEST = 64
"""Characters. A longer text is no mistyped name. It may be a peer's, and to compare tens of
thousands of characters takes many milliseconds."""


def nearest(typed: str, known: Iterable[str]) -> str:
    """The name in ``known`` that is most like ``typed``; empty if none is. Case, and whether words
    are joined by ``-`` or ``_``, make no difference."""
    if len(typed) > _LONGEST:
        return ""
    import difflib  # here, because only errors need it

    by_plain_name = {_plain(name): name for name in known}
    near = difflib.get_close_matches(_plain(typed), by_plain_name, n=1, cutoff=0.65)
    return by_plain_name[near[0]] if near else ""


def did_you_mean(typed: str, known: Iterable[str]) -> str:
    """``did you mean NAME?``, or empty if no name in ``known`` is like ``typed``."""
    name = nearest(typed, known)
    return f"did you mean {name}?" if name else ""


def _plain(name: str) -> str:
    return name.lower().replace("_", "-")
