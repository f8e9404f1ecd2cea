"""Matching replies to requests by an identifier that both contain."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, TypeAlias

from epollo.client.identifiers import IDENTIFIERS, Identifier, Place
from epollo.errors import SettingError

Getter: TypeAlias = Callable[[bytes], Hashable | None]
"""The identifier in a message; None if it has none."""

Stamper: TypeAlias = Callable[[bytes, int], bytes]
"""A message with a number written into it as its identifier."""

_SPEC = re.compile(r"bytes\((\d{1,9}),(\d{1,9})(,stamp)?\)")
_NAMED = re.compile(r"(\w+)(\(stamp\))?")
_FORMS = (
    "write bytes(OFFSET,SIZE), bytes(OFFSET,SIZE,stamp), or one of "
    f"{', '.join(IDENTIFIERS)}, also with (stamp); or pass a function or a Match"
)
_LARGEST_SIZE = 1 << 16  # bytes of an identifier


@dataclass(frozen=True, slots=True)
class Match:
    """Where requests and replies have the identifier that they share.

    Attributes:
        get: the identifier of a message, any hashable value. A reply without one, for which it
            returns None, is a push: a message that the server sends without a request.
        get_reply: the same for replies, if they have it elsewhere; by default ``get``.
        stamp: writes an identifier into each request. It is given the message and a number, which
            counts from 0, and returns the message to send. Without it, callers choose identifiers.
        needs: bytes that a request must have for its identifier to be complete.
        at: offset and size of the identifier in bytes, if it is at the same place in every message;
            None if only ``get`` knows.
    """

    get: Getter
    get_reply: Getter | None = None
    stamp: Stamper | None = None
    needs: int = 0
    at: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        for name in ("get", "get_reply", "stamp"):
            value = getattr(self, name)
            if not callable(value) and (value is not None or name == "get"):
                raise SettingError(f"match: {name}={value!r} is not a function")
            if is_async(value):
                raise SettingError(f"match: {name}={value!r} is async; pass a plain function")


def bytes_at(offset: int, size: int, *, stamp: bool = False) -> Match:
    """The identifier is the ``size`` bytes at ``offset`` of every message, as in DNS (0, 2), Modbus
    TCP (0, 2) or Kafka's replies (0, 4). No Python function is called to find it.

    With ``stamp`` the client writes it, as a big-endian number: two requests never have the same
    one, whatever the caller has written there. The reply is returned as it came, with that number.
    Raises SettingError.
    """
    for name, value, least in (("offset", offset, 0), ("size", size, 1)):
        if type(value) is not int or not least <= value <= _LARGEST_SIZE:
            raise SettingError(
                f"match: {name}={value!r} is not a number of bytes from {least} to {_LARGEST_SIZE}"
            )
    end = offset + size
    writer = _writer(offset, size) if stamp else None
    return Match(itemgetter(slice(offset, end)), None, writer, end, (offset, size))


def of_protocol(name: str, *, stamp: bool = False) -> Match:
    """The identifier of the protocol ``name``, such as ``kafka``, for messages of the framing of
    that name. With ``stamp`` the client writes it, over the one that a request has. A reply is
    found by its own place; requests of the server are pushes."""
    identifier = IDENTIFIERS[name]
    if identifier.at is not None:
        return bytes_at(*identifier.at, stamp=stamp)
    writer = _writer_of(identifier) if stamp else None
    return Match(_getter(identifier.request), _getter(identifier.reply), writer)


def _getter(place: Place) -> Getter:
    def get(message: bytes) -> bytes | None:
        where = place(message)
        return None if where is None else message[where]

    return get


def _writer_of(identifier: Identifier) -> Stamper:
    def write(message: bytes, number: int) -> bytes:
        where = identifier.request(message)
        if where is None:
            return message  # it has no identifier, which is told when it is looked for
        size = where.stop - where.start
        # Positive in a signed number, and without a zero byte in front: BER has no such numbers
        # (X.690, 8.3.2), so an LDAP server would answer with fewer bytes. 0 is no identifier there.
        least = 1 << 8 * (size - 1)
        value = least + number % (127 * least)
        written: bytes = value.to_bytes(size, identifier.order)
        return message[: where.start] + written + message[where.stop :]

    return write


def parse(match: str | Getter | Match | None) -> Match | None:
    """The `Match` that a ``match`` argument describes: ``bytes(0,2)`` for `bytes_at`, ``kafka`` for
    `of_protocol`, a function for `Match.get`, or a `Match`. Raises SettingError."""
    if match is None or isinstance(match, Match):
        return match
    if isinstance(match, str):
        text = match.replace(" ", "")
        named = _NAMED.fullmatch(text)
        if named is not None and named[1] in IDENTIFIERS:
            return of_protocol(named[1], stamp=named[2] is not None)
        found = _SPEC.fullmatch(text)
        if found is None:
            raise SettingError(f"match: {match!r} is not known; {_FORMS}")
        return bytes_at(int(found[1]), int(found[2]), stamp=found[3] is not None)
    if callable(match):
        return Match(match)
    raise SettingError(f"match: {match!r} is not known; {_FORMS}")


def is_async(function: object) -> bool:
    """Would a call of ``function`` return a coroutine, which nobody awaits here?"""
    call = getattr(type(function), "__call__", None)  # noqa: B004
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(call)


def _writer(offset: int, size: int) -> Stamper:
    mask = (1 << (8 * size)) - 1

    def write(message: bytes, number: int) -> bytes:
        identifier = (number & mask).to_bytes(size, "big")
        return message[:offset] + identifier + message[offset + size :]

    return write


def describe(identifier: Any) -> str:
    """``identifier`` for an error text, which is one line."""
    text = repr(identifier)
    return text if len(text) <= 60 else f"{text[:60]}..."
