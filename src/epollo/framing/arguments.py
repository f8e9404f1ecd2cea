r"""The arguments in a framing's name, such as those of ``length(offset=4,size=2)``."""

from __future__ import annotations

import re
from collections.abc import Collection

from epollo.framing.base import bad_spec

_WHOLE = re.compile(r'((?:"[^"]*"|[^")])*)\)')
_COMMA = re.compile(r',(?=(?:[^"]*"[^"]*")*[^"]*\Z)')  # outside of quotes
_ESCAPE = re.compile(rb"\\(x[0-9A-Fa-f]{2}|.?)", re.DOTALL)
_ESCAPES = {b"0": b"\0", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"\\": b"\\"}


def keywords(spec: str, known: Collection[str], example: str) -> dict[str, str]:
    """The arguments of ``spec`` by keyword, as text; an ``example`` is for the error's text.

    A value may stand in double quotes, and then contain blanks, commas and parentheses. Raises
    FramingSpecError for a keyword that is not ``known``.
    """
    whole = _WHOLE.fullmatch(spec.partition("(")[2])
    if whole is None:
        raise bad_spec(spec, f"write it as {example}, with ) at its end only")
    values: dict[str, str] = {}
    for argument in _COMMA.split(whole[1]) if whole[1].strip() else ():
        key, equals, value = (part.strip() for part in argument.partition("="))
        if key not in known:
            raise bad_spec(spec, f"there is no {key!r}; there are {', '.join(known)}")
        if not equals:
            raise bad_spec(spec, f"{key} has no value; write {key}=VALUE")
        if key in values:
            raise bad_spec(spec, f"{key} is given twice")
        values[key] = value[1:-1] if len(value) > 1 and value[0] == value[-1] == '"' else value
    return values


def number(spec: str, key: str, value: str) -> int:
    """The number that is the ``value`` of ``key``. Raises FramingSpecError."""
    if not re.fullmatch(r"-?[0-9]{1,19}", value):
        raise bad_spec(spec, f"{key}={value} is not a whole number such as 4")
    return int(value)


def octets(spec: str, text: str) -> bytes:
    """The bytes that ``text`` says, with its escapes. Raises FramingSpecError."""
    try:
        return _ESCAPE.sub(_unescape, text.encode())
    except UnicodeEncodeError:
        raise bad_spec(spec, r"the delimiter is not text; write its bytes as \xHH") from None
    except KeyError as error:
        escape = error.args[0].decode(errors="backslashreplace")
        raise bad_spec(
            spec, rf"there is no escape \{escape}; there are \0 \n \r \t \\ \xHH"
        ) from None


def _unescape(match: re.Match[bytes]) -> bytes:
    escape = match[1]
    return bytes.fromhex(escape[1:].decode()) if len(escape) == 3 else _ESCAPES[escape]
