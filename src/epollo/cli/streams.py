"""stdout and stderr, which take any text, whatever their encoding."""

from __future__ import annotations

import codecs
import io
import sys

# Replacements for characters that an encoding does not have.
_PLAIN = {
    "\N{MICRO SIGN}": "u",
    "\N{PLUS-MINUS SIGN}": "+-",
    "\N{HORIZONTAL ELLIPSIS}": "...",
    "\N{NO-BREAK SPACE}": " ",
    "\N{BOX DRAWINGS HEAVY HORIZONTAL}": "=",
    "\N{BOX DRAWINGS LIGHT HORIZONTAL}": "-",
    "\N{MULTIPLICATION SIGN}": "x",
    "\N{SUPERSCRIPT TWO}": "2",
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
