"""stdout and stderr, which take any text, whatever their encoding."""

from __future__ import annotations

import codecs
import io
import sys

# Replacements for characters that an encoding does not have. By number: names load unicodedata.
_PLAIN = {
    "\u00b5": "u",  # micro sign
    "\u00b1": "+-",  # plus-minus sign
    "\u2026": "...",  # horizontal ellipsis
    "\u00a0": " ",  # no-break space
    "\u2501": "=",  # box drawings heavy horizontal
    "\u2500": "-",  # box drawings light horizontal
    "\u00d7": "x",  # multiplication sign
    "\u00b2": "2",  # superscript two
}
_HANDLER = "epollo.plain"
_ESCAPED = range(0xDC80, 0xDD00)  # bytes of a name that are not text (PEP 383)


def accept_any_text() -> None:
    """From now on, a character that the encoding of stdout or stderr does not have is written in
    another way: no output ends in a UnicodeEncodeError."""
    codecs.register_error(_HANDLER, _replaced)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=_HANDLER)


def _replaced(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    wrong = error.object[error.start : error.end]
    return "".join(map(_plain, wrong)), error.end


def _plain(character: str) -> str:
    if ord(character) in _ESCAPED:
        return f"\\x{ord(character) - 0xDC00:02x}"
    escaped = character.encode("ascii", "backslashreplace").decode()
    return _PLAIN.get(character, escaped)
