r"""The text that names a framing, as given to ``--framing``.

u8 u16 u32 u64 u16le u32le u64le varint netstring line raw
delimiter:X     X with the escapes \0 \n \r \t \\ \xHH
fixed:N         N such as 128 or 1KiB
length(offset=4, size=2, adjust=0, strip=0, order=big)    all but size are optional
dns kafka thrift erlang1 erlang2 erlang4 modbus mongodb protobuf
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import TypeAlias

from epollo.errors import FramingSpecError, SettingError
from epollo.framing.base import DEFAULT_MAX_FRAME, Framing, bad_spec
from epollo.framing.delimiter import Delimiter, Line
from epollo.framing.fixed import Fixed
from epollo.framing.length import FORMS, LengthField, LengthPrefix, Order
from epollo.framing.netstring import Netstring
from epollo.framing.raw import Raw
from epollo.framing.varint import Varint
from epollo.suggestions import nearest
from epollo.units import parse_size

Factory: TypeAlias = Callable[[str, int], Framing]
"""Makes a framing from its spec, which is its name, and ``max_frame``."""


def parse(spec: str | Framing, max_frame: int = DEFAULT_MAX_FRAME) -> Framing:
    """The framing that ``spec`` names, for frames of at most ``max_frame`` bytes.

    A Framing object is returned as it is; its own ``max_frame`` counts. Raises FramingSpecError
    that says what is wrong with a spec, and what is valid; SettingError if a Framing object comes
    with another ``max_frame`` than its own, unless that is the default.
    """
    if isinstance(spec, Framing):
        if max_frame not in (DEFAULT_MAX_FRAME, spec.max_frame):
            raise SettingError(
                f"max_frame={max_frame} has no effect on the framing object {spec.name!r}: set its "
                f"own, which is {spec.max_frame}"
            )
        return spec
    if not isinstance(spec, str):
        raise FramingSpecError(f"framing {spec!r} is neither a name such as 'u32' nor a Framing")
    form = _FORMS_BY_HEAD.get(_head(spec))
    if form is None:
        raise _unknown(spec)
    return _FRAMINGS[form](spec, max_frame)


def _head(spec: str) -> str:
    """The part of a spec before its argument, by which it is looked up."""
    return re.split(r"(?<=[:(])", spec, maxsplit=1)[0]


def _unknown(spec: str) -> FramingSpecError:
    meant = _meant(spec)
    hint = f"did you mean {meant}?" if meant else f"known are {', '.join(_FRAMINGS)}"
    return FramingSpecError(f"unknown framing {spec!r}: {hint}")


def _meant(spec: str) -> str:
    """The framing that somebody may mean with ``spec``; empty if none is like it."""
    name = re.split(r"[^\w]", spec.lower(), maxsplit=1)[0].replace("_", "")
    whole = re.fullmatch(r"u?(?:int|len|length)?(8|16|24|32|64)(?:bits?)?(be|le|)", name)
    if whole is not None:
        bits, order = whole[1], "le" if whole[2] == "le" and whole[1] != "8" else ""
        return f"u{bits}{order}" if bits != "24" else "length(size=3)"
    for names, meant in _OTHER_NAMES.items():
        if name in names.split():
            return meant
    near = nearest(_head(spec), _FORMS_BY_HEAD)
    return _FORMS_BY_HEAD[near] if near else ""


def _delimiter(spec: str, max_frame: int) -> Framing:
    text = spec.removeprefix("delimiter:")
    try:
        delimiter = _ESCAPE.sub(_unescape, text.encode())
    except UnicodeEncodeError:
        raise bad_spec(spec, r"the delimiter is not text; write its bytes as \xHH") from None
    except KeyError as error:
        escape = error.args[0].decode(errors="backslashreplace")
        raise bad_spec(
            spec, rf"there is no escape \{escape}; there are \0 \n \r \t \\ \xHH"
        ) from None
    return Delimiter(spec, max_frame, delimiter=delimiter)


_ESCAPE = re.compile(rb"\\(x[0-9A-Fa-f]{2}|.?)", re.DOTALL)
_ESCAPES = {b"0": b"\0", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"\\": b"\\"}


def _unescape(match: re.Match[bytes]) -> bytes:
    escape = match[1]
    return bytes.fromhex(escape[1:].decode()) if len(escape) == 3 else _ESCAPES[escape]


def _fixed(spec: str, max_frame: int) -> Framing:
    try:
        size = parse_size(spec.removeprefix("fixed:"))
    except ValueError as error:
        raise bad_spec(spec, str(error)) from None
    return Fixed(spec, max_frame, size=size)


def _length(spec: str, max_frame: int) -> Framing:
    values = _keywords(spec)
    order = values.pop("order", "big")
    if order not in _ORDERS:
        raise bad_spec(spec, f"order={order} is neither big nor little")
    numbers = {key: _number(spec, key, value) for key, value in values.items()}
    if "size" not in numbers:
        raise bad_spec(spec, "size is missing; it is one of 1, 2, 3, 4 and 8")
    field = LengthField(spec, max_frame, order=_ORDERS[order], **numbers)
    plain = not field.in_place and not field.adjust and field.size in FORMS
    if plain:
        return LengthPrefix(spec, max_frame, size=field.size, order=field.order)
    return field


_ORDERS: dict[str, Order] = {"big": "big", "little": "little"}
_KEYWORDS = ("offset", "size", "adjust", "strip", "order")


def _keywords(spec: str) -> dict[str, str]:
    """The arguments of ``length(...)``, by keyword, as text."""
    arguments, closed, rest = spec.removeprefix("length(").partition(")")
    if not closed or rest:
        raise bad_spec(spec, "write it as length(size=2), with ) at its end only")
    values: dict[str, str] = {}
    for argument in arguments.split(",") if arguments.strip() else ():
        key, equals, value = (part.strip() for part in argument.partition("="))
        if key not in _KEYWORDS:
            raise bad_spec(spec, f"there is no {key!r}; there are {', '.join(_KEYWORDS)}")
        if not equals:
            raise bad_spec(spec, f"{key} has no value; write {key}=VALUE")
        if key in values:
            raise bad_spec(spec, f"{key} is given twice")
        values[key] = value
    return values


def _number(spec: str, key: str, value: str) -> int:
    if not re.fullmatch(r"-?[0-9]{1,19}", value):
        raise bad_spec(spec, f"{key}={value} is not a whole number such as 4")
    return int(value)


# Every framing, by the form of its spec.
_FRAMINGS: dict[str, Factory] = {
    "u8": partial(LengthPrefix, size=1),
    "u16": partial(LengthPrefix, size=2),
    "u32": partial(LengthPrefix, size=4),
    "u64": partial(LengthPrefix, size=8),
    "u16le": partial(LengthPrefix, size=2, order="little"),
    "u32le": partial(LengthPrefix, size=4, order="little"),
    "u64le": partial(LengthPrefix, size=8, order="little"),
    "varint": Varint,
    "netstring": Netstring,
    "line": Line,
    "raw": Raw,
    "delimiter:X": _delimiter,
    "fixed:N": _fixed,
    "length(size=N)": _length,
    "dns": partial(LengthPrefix, size=2),  # RFC 1035, 4.2.2
    "kafka": partial(LengthPrefix, size=4),
    "thrift": partial(LengthPrefix, size=4),  # its framed transport
    "erlang1": partial(LengthPrefix, size=1),  # {packet, 1} of gen_tcp, and so on
    "erlang2": partial(LengthPrefix, size=2),
    "erlang4": partial(LengthPrefix, size=4),
    "modbus": partial(LengthField, offset=4, size=2),  # Modbus/TCP; the MBAP header stays
    "mongodb": partial(LengthField, size=4, adjust=-4, order="little"),  # counts itself; stays
    "protobuf": Varint,  # writeDelimitedTo, serialize_length_prefixed
}

_OTHER_NAMES = {
    "lines newline newlines lf crlf ndjson jsonl jsonlines text telnet readline": "line",
    "delimiter delimited delim separator sep until terminator": "delimiter:X",
    "nul null zero nullterminated cstring": r"delimiter:\0",
    "fixed size fixedlength": "fixed:N",
    "length len prefix lengthfield lengthprefix lengthprefixed": "length(size=N)",
    "none no off stream bytes plain": "raw",
    "leb128 uvarint varint32 vlq": "varint",
    "netstrings tnetstring": "netstring",
    "proto protobufs pb": "protobuf",
    "modbustcp mbap": "modbus",
    "mongo bson": "mongodb",
    "erlang packet": "erlang4",
}
"""What others call a framing, and its form here."""

_FORMS_BY_HEAD = {_head(form): form for form in _FRAMINGS}

HEADS = tuple(_FORMS_BY_HEAD)
"""What the spec of each framing begins with, for the completion of a command line."""
