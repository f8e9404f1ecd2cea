r"""The text that names a framing, as given to ``--framing``.

u8 u16 u32 u64 u16le u32le u64le varint netstring line ber headers raw
delimiter:X     X with the escapes \0 \n \r \t \\ \xHH
fixed:N         N such as 128 or 1KiB
length(offset=4, size=2, adjust=0, strip=0, order=big)    all but size are optional
digits(size=4)  digits(end=" ")  bcd(size=2)  varint(size=4)    also with offset and adjust
delimiter(end=\x1c\r, start=\x0b)  line(end=crlf)  headers(alias=l)
module:Name     a subclass of Framing, or an object of one: see ``epollo.framing.named``
and the names of protocols: see ``epollo.framing.protocols``
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

from epollo.errors import FramingSpecError, SettingError
from epollo.framing.arguments import keywords, number, octets
from epollo.framing.base import DEFAULT_MAX_FRAME, AnyFraming, Framing, bad_spec
from epollo.framing.bcd import Bcd
from epollo.framing.ber import Ber
from epollo.framing.delimiter import Delimiter, Line
from epollo.framing.digits import Digits, DigitsUntil
from epollo.framing.enclosed import Enclosed
from epollo.framing.fixed import Fixed
from epollo.framing.found import is_path, load, made, path_of_dotted
from epollo.framing.headers import Headers
from epollo.framing.length import FORMS, LengthField, LengthPrefix, Order
from epollo.framing.netstring import Netstring
from epollo.framing.protocols import PROTOCOLS
from epollo.framing.raw import Raw
from epollo.framing.varint import Varint
from epollo.importing import is_there
from epollo.suggestions import nearest
from epollo.units import parse_size

Factory: TypeAlias = Callable[[str, str, int], Framing]
"""Makes a framing from its spec, its name, and ``max_frame``."""


def parse(spec: AnyFraming, max_frame: int = DEFAULT_MAX_FRAME) -> Framing:
    """The framing that ``spec`` names, for frames of at most ``max_frame`` bytes.

    A class of a framing is made, with its own name and ``max_frame``. A Framing object is returned
    as it is; its own ``max_frame`` counts. Raises FramingSpecError
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
    if isinstance(spec, type) and issubclass(spec, Framing):
        return made(spec, spec.__name__, spec.__name__, max_frame)
    if not isinstance(spec, str):
        raise FramingSpecError(
            f"unknown framing {spec!r}: neither a name such as 'u32' nor a Framing or its class"
        )
    text = PROTOCOLS[spec].framing if spec in PROTOCOLS else spec
    form = _FORMS_BY_HEAD.get(_head(text))
    if form is None and is_path(text) and (is_there(text) or not _meant(spec)):
        return load(text, spec, max_frame)
    if form is None:
        raise _unknown(spec)
    return _FRAMINGS[form](text, spec, max_frame)


def _head(spec: str) -> str:
    """The part of a spec before its argument, by which it is looked up."""
    return re.split(r"(?<=[:(])", spec, maxsplit=1)[0]


def _unknown(spec: str) -> FramingSpecError:
    meant = _meant(spec) or path_of_dotted(spec)
    known = ", ".join((*_FRAMINGS, "module:Name", *PROTOCOLS))
    hint = f"did you mean {meant}?" if meant else f"known are {known}"
    if spec.isidentifier() and len(spec) < 100 and Path(f"{spec}.py").is_file():
        hint = f"write {spec}:Name for a class in {spec}.py; {hint}"
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
    heads = [head for head in HEADS if head.endswith(":")] if is_path(spec) else HEADS
    near = nearest(_head(spec), heads)
    return _FORMS_BY_HEAD.get(near, near) if near else ""


def _plain(kind: Callable[..., Framing], **parameters: Any) -> Factory:
    return lambda _, name, max_frame: kind(name, max_frame, **parameters)


def _delimiter(spec: str, name: str, max_frame: int) -> Framing:
    delimiter = octets(spec, spec.removeprefix("delimiter:"))
    return Delimiter(name, max_frame, delimiter=delimiter)


def _enclosed(spec: str, name: str, max_frame: int) -> Framing:
    values = keywords(spec, ("end", "start"), "delimiter(end=X,start=Y)")
    if "end" not in values:
        raise bad_spec(spec, r"end is missing; write one such as end=\0")
    end = octets(spec, values["end"])
    if "start" not in values:
        return Delimiter(name, max_frame, delimiter=end)
    return Enclosed(name, max_frame, start=octets(spec, values["start"]), delimiter=end)


def _line(spec: str, name: str, max_frame: int) -> Framing:
    end = keywords(spec, ("end",), "line(end=crlf)").get("end", "lf")
    if end not in _LINE_ENDS:
        raise bad_spec(spec, f"end={end} is neither lf nor crlf")
    return Line(name, max_frame, ending=_LINE_ENDS[end])


_LINE_ENDS = {"lf": b"\n", "crlf": b"\r\n"}


def _headers(spec: str, name: str, max_frame: int) -> Framing:
    alias = keywords(spec, ("alias",), "headers(alias=l)").get("alias", "")
    return Headers(name, max_frame, alias=alias)


def _fixed(spec: str, name: str, max_frame: int) -> Framing:
    try:
        size = parse_size(spec.removeprefix("fixed:"))
    except ValueError as error:
        raise bad_spec(spec, str(error)) from None
    return Fixed(name, max_frame, size=size)


def _digits(spec: str, name: str, max_frame: int) -> Framing:
    values = keywords(spec, ("size", "end", "offset", "adjust"), "digits(size=4)")
    end = values.pop("end", None)
    numbers = _numbers(spec, values)
    if (end is None) == ("size" not in numbers):
        raise bad_spec(spec, 'give either size, as size=4, or end, as end=" "')
    if end is None:
        return Digits(name, max_frame, **numbers)
    return DigitsUntil(name, max_frame, end=octets(spec, end), **numbers)


def _bcd(spec: str, name: str, max_frame: int) -> Framing:
    numbers = _numbers(spec, keywords(spec, ("size", "offset", "adjust"), "bcd(size=2)"))
    if "size" not in numbers:
        raise bad_spec(spec, "size is missing; it is a number of bytes from 1 to 9")
    return Bcd(name, max_frame, **numbers)


def _varint(spec: str, name: str, max_frame: int) -> Framing:
    numbers = _numbers(spec, keywords(spec, ("offset", "size", "adjust"), "varint(offset=1)"))
    return Varint(name, max_frame, **numbers)


def _length(spec: str, name: str, max_frame: int) -> Framing:
    known = ("offset", "size", "adjust", "strip", "order")
    values = keywords(spec, known, "length(size=2)")
    order = values.pop("order", "big")
    if order not in _ORDERS:
        raise bad_spec(spec, f"order={order} is neither big nor little")
    numbers = _numbers(spec, values)
    if "size" not in numbers:
        raise bad_spec(spec, "size is missing; it is one of 1, 2, 3, 4 and 8")
    field = LengthField(name, max_frame, order=_ORDERS[order], **numbers)
    plain = not field.in_place and not field.adjust and field.size in FORMS
    if plain:
        return LengthPrefix(name, max_frame, size=field.size, order=field.order)
    return field


_ORDERS: dict[str, Order] = {"big": "big", "little": "little"}


def _numbers(spec: str, values: dict[str, str]) -> dict[str, int]:
    return {key: number(spec, key, value) for key, value in values.items()}


# Every framing, by the form of its spec.
_FRAMINGS: dict[str, Factory] = {
    "u8": _plain(LengthPrefix, size=1),
    "u16": _plain(LengthPrefix, size=2),
    "u32": _plain(LengthPrefix, size=4),
    "u64": _plain(LengthPrefix, size=8),
    "u16le": _plain(LengthPrefix, size=2, order="little"),
    "u32le": _plain(LengthPrefix, size=4, order="little"),
    "u64le": _plain(LengthPrefix, size=8, order="little"),
    "varint": _plain(Varint),
    "netstring": _plain(Netstring),
    "line": _plain(Line),
    "ber": _plain(Ber),
    "headers": _plain(Headers),
    "raw": _plain(Raw),
    "delimiter:X": _delimiter,
    "fixed:N": _fixed,
    "length(size=N)": _length,
    "digits(size=N)": _digits,
    "bcd(size=N)": _bcd,
    "varint(offset=N)": _varint,
    "delimiter(end=X,start=Y)": _enclosed,
    "line(end=crlf)": _line,
    "headers(alias=X)": _headers,
}

_OTHER_NAMES = {
    "lines newline newlines lf ndjson jsonl jsonlines text telnet readline": "line",
    "delimiter delimited delim separator sep until terminator": "delimiter:X",
    "nul null zero nullterminated cstring": r"delimiter:\0",
    "fixed size fixedlength": "fixed:N",
    "decimal ascii asciilength octetcounting rfc6587": 'digits(end=" ")',
    "iso8583": "digits(size=4)",
    "bcd packed": "bcd(size=N)",
    "asn1 der tlv": "ber",
    "content contentlength header": "headers",
    "crlf": "line(end=crlf)",
    "hl7 hl7v2": "mllp",
    "mqtt3 mqtt5 mosquitto": "mqtt",
    "ldapv3 ldaps": "ldap",
    "s7 s7comm iso tsap cotp rfc1006": "tpkt",
    "iec iec60870 iec608705104 104": "iec104",
    "opc opcuatcp ua": "opcua",
    "tacacsplus tacplus": "tacacs",
    "cql": "cassandra",
    "styx 9p2000": "9p",
    "mssql sqlserver": "tds",
    "smb2 cifs netbios": "smb",
    "bgp4": "bgp",
    "languageserver": "lsp",
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

HEADS = (*_FORMS_BY_HEAD, *PROTOCOLS)
"""What the spec of each framing begins with, for the completion of a command line."""
