"""Which messages a workload sends, checked before the first of them is."""

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

_MANY = 10**9  # messages, and connections, where the workload has no bound of them


class Messages(Protocol):
    """Makes the messages of a run, and says what is wrong with a reply."""

    def message(self, connection: int, number: int, intended: int) -> bytes:
        """The message ``number`` of ``connection``, meant to be sent at ``intended`` ns."""

    def fault(self, reply: bytes, expected: bytes | None, connection: int, sent: int) -> Fault:
        """What is wrong with ``reply``, which is none of the messages outstanding; ``expected`` is
        the oldest of these (None: there is none), ``sent`` how many the ``connection`` has sent."""


def new_payload(workload: Workload, framing: Framing) -> Messages:
    """The messages of ``workload``: of a file, by a template, or of its sizes.

    Raises SettingError where ``framing`` could not carry them.
    """
    if workload.payload and workload.template:
        raise SettingError("payload and template: are two kinds of message; give one of them")
    if workload.payload:
        return _checked("payload", FilePayload(workload.payload), workload, framing)
    if workload.template:
        return _checked("template", TemplatePayload(workload.template), workload, framing)
    text = isinstance(framing, Line | Delimiter)
    return Payload(workload.sizes.draw(workload.seed), text)


def are_apart(workload: Workload) -> bool:
    """Is each message of a connection unlike the others that it has outstanding? Only then does a
    right reply in the wrong place show."""
    if workload.template:
        return not {"number", "time"}.isdisjoint(fields(workload.template))
    return not workload.payload and workload.sizes.least >= NUMBERED


def _checked(name: str, payload: Messages, workload: Workload, framing: Framing) -> Messages:
    """``payload``, if the framing carries its messages: those with the least numbers in them, and
    those with the largest."""
    try:
        for message in _extremes(payload, workload):
            framing.encode(message)
    except EncodeError as error:
        raise SettingError(f"{name}: {error}; take another {name}, or another framing") from None
    return payload


def _extremes(payload: Messages, workload: Workload) -> Iterator[bytes]:
    replaced = workload.reconnect_every or workload.open_loop  # where they are lost
    connections = _MANY if replaced else workload.connections
    for connection in (0, connections - 1):
        for number in (0, (workload.messages or _MANY) - 1):
            yield payload.message(connection, number, monotonic_ns())
