"""Where a message and its reply have the identifier that they share."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Hashable
from dataclasses import replace

from epollo.client.identifiers import IDENTIFIERS
from epollo.client.match import Getter, Match, parse
from epollo.errors import SettingError
from epollo.server.handlers.application import load

_log = logging.getLogger("epollo.bench")


class ReplyGetter:
    """The user's function for the identifier of a reply. If it raises, the reply has none. Its
    first traceback is kept as text, because the exception would keep its local variables alive."""

    def __init__(self, name: str, function: Getter) -> None:
        self.name = name
        self.raised: int = 0
        self.traceback: str = ""
        self._function = function

    def __call__(self, reply: bytes) -> Hashable | None:
        try:
            identifier = self._function(reply)
            hash(identifier)
        except Exception:
            self.raised += 1
            self.traceback = self.traceback or traceback.format_exc()
            return None
        return identifier


def match_of(spec: str) -> Match | None:
    """The match that ``spec`` describes: ``bytes(OFFSET,SIZE)``, ``bytes(OFFSET,SIZE,stamp)``, a
    protocol such as ``kafka`` or ``kafka(stamp)``, or ``module:name`` of a function or a `Match`;
    None if it is empty.

    Raises SettingError and HandlerError, which name the fix.
    """
    if not spec:
        return None
    if "(" in spec or ":" not in spec:
        try:
            return parse(spec)
        except SettingError:
            names = ", ".join(IDENTIFIERS)
            raise SettingError(
                f"match: {spec!r} is not known; write bytes(OFFSET,SIZE), "
                f"bytes(OFFSET,SIZE,stamp), module:name, or one of {names}, also with (stamp)"
            ) from None
    found = load(spec, "match")
    if isinstance(found, str) or found is None:
        raise SettingError(f"match: {spec} is neither a function nor a Match")
    match = parse(found)
    assert match is not None
    return replace(match, get_reply=ReplyGetter(spec, match.get_reply or match.get))


def report(match: Match | None) -> None:
    """At the end of a run: log once what the user's function raised."""
    if match is None or not isinstance(match.get_reply, ReplyGetter):
        return
    getter = match.get_reply
    if getter.raised:
        _log.error(
            "match: %s raised %d times, each of them counted as an extra reply; the first:\n%s",
            getter.name,
            getter.raised,
            getter.traceback.rstrip(),
        )
