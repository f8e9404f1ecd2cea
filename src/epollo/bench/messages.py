"""The messages of a workload, checked before the first one is sent."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import replace
from time import monotonic_ns
from typing import Protocol

from epollo.bench.load.contents import FilePayload, messages_of, read, size_of
from epollo.bench.load.length_inside import (
    LengthInside,
    is_length_inside,
    length_inside,
    with_length,
)
from epollo.bench.load.matching import match_of
from epollo.bench.load.payload import NUMBER, TIME, Fault, Payload
from epollo.bench.load.template import TemplatePayload, fields
from epollo.bench.workload import Workload
from epollo.client.match import Match, describe
from epollo.errors import EncodeError, SettingError
from epollo.framing import DEFAULT_MAX_FRAME, Delimiter, Enclosed, Framing, Line
from epollo.plurals import counted

_TRIED = 2  # messages, whose identifiers are compared before a run
_MANY = 10**9  # messages, and connections, if the workload sets no limit


class Messages(Protocol):
    """Makes the messages of a run, and says what is wrong with a reply."""

    def message(self, connection: int, number: int, intended: int) -> bytes:
        """The message ``number`` of ``connection``, due at ``intended`` ns."""

    def fault(self, reply: bytes, expected: bytes | None, connection: int, sent: int) -> Fault:
        """The fault of ``reply``, which matches no message outstanding. ``expected`` is the
        oldest of those (None if there is none), ``sent`` the number of messages sent on the
        ``connection``."""


def new_payload(workload: Workload, framing: Framing) -> Messages:
    """The messages of ``workload``: from a file, from a template, or of its sizes.

    Raises SettingError if ``framing`` cannot carry them.
    """
    if workload.payload and workload.template:
        raise SettingError("payload and template: give only one of them")
    if workload.payload:
        return _file_payload(workload, framing)
    if workload.template:
        return _checked("template", TemplatePayload(workload.template), workload, framing)
    text = isinstance(framing, Line | Delimiter | Enclosed)
    payload = Payload(workload.sizes.draw(workload.seed), text)
    return LengthInside(payload.message, framing) if is_length_inside(framing) else payload


def _file_payload(workload: Workload, framing: Framing) -> Messages:
    load = workload
    messages = messages_of(load.payload, load.payload_framing, load.payload_order, load.seed)
    try:
        frames = {message: framing.encode(message) for message in messages}
    except EncodeError as error:
        raise SettingError(f"payload: {error}; use another payload, or another framing") from None
    inside = is_length_inside(framing)
    return FilePayload([frames[message] for message in messages] if inside else messages)


def are_distinct(workload: Workload) -> bool:
    """Does each message differ from all others outstanding on its connection? Only then is a
    correct reply in the wrong order noticed."""
    if workload.payload:
        return False
    framing = workload.new_framing()
    if workload.template:
        return not is_length_inside(framing) and not {"number", "time"}.isdisjoint(
            fields(workload.template)
        )
    length = length_inside(framing, workload.sizes.most)
    unique = NUMBER if not length or length.start >= NUMBER.stop else TIME
    overwritten = length.start < unique.stop and unique.start < length.stop
    return workload.sizes.least >= unique.stop and not overwritten


def new_preamble(workload: Workload, framing: Framing) -> bytes | None:
    """The message sent first on each connection; None if there is none. Raises SettingError."""
    if not workload.preamble:
        return None
    preamble = read(workload.preamble, "preamble")
    try:
        framing.encode(preamble)
    except EncodeError as error:
        raise SettingError(f"preamble: {error}; use another file, or another framing") from None
    return preamble


def matched_by(workload: Workload) -> str:
    """How a reply is matched to its message: by the ``identifier`` of ``match``, by the
    ``content`` of both, or by the ``order`` that the server is assumed to keep; ``none`` if no
    replies are expected."""
    if workload.expect == "none":
        return "none"
    if workload.match:
        return "identifier"
    by_content = workload.expect == "echo" and are_distinct(workload)
    return "content" if by_content else "order"


def assumes_order(workload: Workload) -> bool:
    """Would the times be wrong if the server answered out of order? Not if each connection has
    only one message outstanding."""
    several = workload.open_loop or workload.depth > 1
    return several and matched_by(workload) == "order"


def new_match(workload: Workload, payload: Messages, framing: Framing) -> Match | None:
    """The ``match`` of ``workload``; None if it has none. Raises SettingError if the messages
    cannot have that identifier."""
    match = match_of(workload.match)
    if match is not None:
        match = _fitting(match, framing, workload)
        _check_identifier(match, payload, workload)
    return match


def _fitting(match: Match, framing: Framing, workload: Workload) -> Match:
    """``match`` for messages of ``framing``. Raises SettingError if that cannot carry the stamp."""
    if match.at is None:
        stamp = match.stamp
        if stamp is None or not is_length_inside(framing):
            return match
        return replace(match, stamp=lambda *given: with_length(framing, stamp(*given)))
    if match.stamp is not None and isinstance(framing, Line | Delimiter | Enclosed):
        raise SettingError(
            f"match: a stamp is binary, and may have the delimiter of {framing.name} in it; use "
            "a template with {number}, and bytes(OFFSET,SIZE)"
        )
    offset, size = match.at
    length = length_inside(framing, _largest(workload))
    if length.start < offset + size and offset < length.stop:
        raise SettingError(
            f"match: {workload.match} overlaps the length that {framing.name} writes into bytes "
            f"{length.start} to {length.stop - 1}; use other bytes"
        )
    return match


def _largest(workload: Workload) -> int:
    """The size of the largest message, in bytes; with a template, of a large one."""
    if workload.template:
        return DEFAULT_MAX_FRAME
    return size_of(workload.payload) if workload.payload else workload.sizes.most


def _check_identifier(match: Match, payload: Messages, workload: Workload) -> None:
    """Two messages of a connection have different identifiers, unless only one is outstanding."""
    sent = [payload.message(0, number, monotonic_ns()) for number in range(_TRIED)]
    if isinstance(payload, FilePayload):
        sent += payload.messages
    shortest = min(len(message) for message in sent)
    if not (workload.payload or workload.template):
        shortest = workload.sizes.least
    if shortest < match.needs:
        raise SettingError(
            f"match: a message of {counted(shortest, 'byte')} has no {workload.match}; "
            "use larger messages, or another identifier"
        )
    if match.stamp is not None:
        sent = [match.stamp(message, number) for number, message in enumerate(sent)]
    identifiers = {_identifier(match, message, workload.match) for message in sent}
    if len(identifiers) == 1 and (workload.open_loop or workload.depth > 1):
        raise SettingError(
            f"match: all messages have the same identifier, {describe(identifiers.pop())}; "
            "use bytes(OFFSET,SIZE,stamp), which writes another one into each"
        )


def _identifier(match: Match, message: bytes, spec: str) -> Hashable:
    try:
        identifier = match.get(message)
        hash(identifier)
    except Exception as error:
        raise SettingError(f"match: {spec} raised {error!r} for a message") from error
    if identifier is None:
        raise SettingError(f"match: {spec} finds no identifier in the messages")
    return identifier


def _checked(name: str, payload: Messages, workload: Workload, framing: Framing) -> Messages:
    """Return ``payload`` if the framing can carry its messages: those with the smallest and the
    largest numbers are tried."""
    try:
        checked = LengthInside(payload.message, framing) if is_length_inside(framing) else payload
        for message in _extremes(checked, workload):
            framing.encode(message)
    except EncodeError as error:
        raise SettingError(f"{name}: {error}; use another {name}, or another framing") from None
    return checked


def _extremes(payload: Messages, workload: Workload) -> Iterator[bytes]:
    replaced = (
        workload.reconnect_every or workload.open_loop
    )  # connections are replaced, so their number is unknown
    connections = _MANY if replaced else workload.connections
    for connection in (0, connections - 1):
        for number in (0, (workload.messages or _MANY) - 1):
            yield payload.message(connection, number, monotonic_ns())
