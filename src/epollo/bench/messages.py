"""The messages of a workload, checked before the first one is sent."""

from __future__ import annotations

from collections.abc import Iterator
from time import monotonic_ns
from typing import Protocol

from epollo.bench.load.contents import FilePayload
from epollo.bench.load.payload import NUMBERED, Fault, Payload
from epollo.bench.load.template import TemplatePayload, fields
from epollo.bench.workload import Workload
from epollo.errors import EncodeError, SettingError
from epollo.framing import Delimiter, Framing, Line

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
        return _checked("payload", FilePayload(workload.payload), workload, framing)
    if workload.template:
        return _checked("template", TemplatePayload(workload.template), workload, framing)
    text = isinstance(framing, Line | Delimiter)
    return Payload(workload.sizes.draw(workload.seed), text)


def are_distinct(workload: Workload) -> bool:
    """Does each message differ from all others outstanding on its connection? Only then is a
    correct reply in the wrong order noticed."""
    if workload.template:
        return not {"number", "time"}.isdisjoint(fields(workload.template))
    return not workload.payload and workload.sizes.least >= NUMBERED


def _checked(name: str, payload: Messages, workload: Workload, framing: Framing) -> Messages:
    """Return ``payload`` if the framing can carry its messages: those with the smallest and the
    largest numbers are tried."""
    try:
        for message in _extremes(payload, workload):
            framing.encode(message)
    except EncodeError as error:
        raise SettingError(f"{name}: {error}; use another {name}, or another framing") from None
    return payload


def _extremes(payload: Messages, workload: Workload) -> Iterator[bytes]:
    replaced = (
        workload.reconnect_every or workload.open_loop
    )  # connections are replaced, so their number is unknown
    connections = _MANY if replaced else workload.connections
    for connection in (0, connections - 1):
        for number in (0, (workload.messages or _MANY) - 1):
            yield payload.message(connection, number, monotonic_ns())
