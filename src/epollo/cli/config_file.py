"""A file of settings, in TOML: its values, and the line of each."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Collection, Iterator
from typing import Any

from epollo.causes import clause
from epollo.errors import SettingError

_AT_LINE = re.compile(r"(.*) \(at line (\d+), column (\d+)\)", re.DOTALL)
_KINDS: dict[type, str] = {dict: "a table", list: "an array"}


class ConfigFile:
    """The settings of a file: a value for each key, and no tables.

    Raises OSError if it cannot be read, and SettingError with the name of the file, and the line,
    if it is not TOML.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        with open(path, "rb") as file:  # noqa: PTH123 (the errors name it as it was written)
            data = file.read()
        try:
            self._text = data.decode()
        except UnicodeDecodeError as error:
            line = error.object.count(b"\n", 0, error.start) + 1
            raise SettingError(f"{path}:{line}: is not text in UTF-8") from None
        try:
            self.values: dict[str, Any] = tomllib.loads(self._text)
        except tomllib.TOMLDecodeError as error:
            raise SettingError(self._located(str(error))) from None
        except RecursionError:
            raise SettingError(f"{path}: is nested too deeply for a file of settings") from None

    def place(self, key: str) -> str:
        """The file, and the line on which ``key`` is: ``epollo.toml:3``."""
        return f"{self.path}:{self._lines().get(key, 1)}"

    def check_values(self, several: Collection[str]) -> None:
        """Raises SettingError for a value that is not a text, a number or a boolean. The keys in
        ``several`` may have an array of them."""
        for key, value in self.values.items():
            array = isinstance(value, list) and key in several
            if array and not value:
                raise SettingError(f"{self.place(key)}: {key}: is empty; give a value")
            for each in value if array else [value]:
                if not isinstance(each, str | int | float):
                    kind = _KINDS.get(type(each), f"a {type(each).__name__}")
                    wanted = "texts" if array else "one text, number or boolean"
                    raise SettingError(f"{self.place(key)}: {key}: is {kind}; write {wanted}")

    def _lines(self) -> dict[str, int]:
        """The line on which each key begins.

        tomllib does not tell it. But a file that ends after a whole statement is TOML too: so a key
        begins after the last line up to which there were only whole statements before it.
        """
        found: dict[str, int] = {}
        first = 1
        for number, head in enumerate(_heads(self._text), start=1):
            if first == number and _is_blank(head):
                first += 1
                continue
            try:
                keys = tomllib.loads(head)
            except tomllib.TOMLDecodeError:
                continue  # within a statement of several lines
            found |= {key: first for key in keys if key not in found}
            first = number + 1
        return found

    def _located(self, message: str) -> str:
        """tomllib's message, with the line at its start."""
        match = _AT_LINE.fullmatch(message)
        if match is None:  # it ends with "(at end of document)"
            last = self._text.rstrip().count("\n") + 1
            message = message.removesuffix(" (at end of document)")
            return f"{self.path}:{last}: {clause(message)}"
        return f"{self.path}:{match[2]}: {clause(match[1])} (column {match[3]})"


def _heads(text: str) -> Iterator[str]:
    """The first line, the first two lines, and so on."""
    end = 0
    while end < len(text):
        end = text.find("\n", end) + 1 or len(text)
        yield text[:end]


def _is_blank(head: str) -> bool:
    last = head.removesuffix("\n").rpartition("\n")[2].strip()
    return not last or last.startswith("#")
