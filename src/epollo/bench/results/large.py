"""Reads a large file of a result: only the counts of its seconds are kept in memory."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from epollo.bench.results.reading import NO_RESULT, typed_errors
from epollo.bench.results.result import Result, check_version
from epollo.bench.results.series import FileSeries
from epollo.errors import ResultFileError

_CHUNK = 1 << 20  # bytes
_SPACE = re.compile(r"[ \t\n\r]*")
_NEXT_ITEM = re.compile(r"[ \t\n\r]*,[ \t\n\r]*")
_STARTS = ("{", '"')  # of most values
_DECODER = json.JSONDecoder()


def read_large(path: Path) -> Result:
    """The result in the file. Raises ResultFileError, and OSError if it cannot be read."""
    with path.open("rb") as file, typed_errors():
        document: dict[str, Any] = {}
        for name, value in _Text(file).members(path):
            document[name] = value
        check_version(document)
        seconds, minutes = document["seconds"], document.pop("minutes", [])
        if not isinstance(seconds, FileSeries):
            raise ResultFileError(f"{NO_RESULT}: its seconds are not a list")
        seconds.set_minutes(minutes)
        return Result.of_document(document)


class _Text:
    """A JSON document, of which a part is in memory. Bytes are taken for characters, so that places
    in the text are places in the file; `_value` decodes what is not ASCII."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._text = ""
        self._at = 0  # in the text
        self._before = 0  # bytes that are no longer in the text
        self._longest = 0  # of the values so far
        self._ended = False

    def members(self, path: Path) -> Iterator[tuple[str, Any]]:
        """The members of the object; seconds as a FileSeries of ``path``."""
        self._take("{")
        while True:
            name, _, _ = self._value()
            self._take(":")
            if name == "seconds" and self._peek() == "[":
                series = FileSeries(path)
                for value, place, length in self._items():
                    series.add(value, place, length)
                yield name, series
            else:
                yield name, self._value()[0]
            if self._take(",}") == "}":
                break
        if self._peek():
            raise ValueError("there is more after its end")

    def _items(self) -> Iterator[tuple[Any, int, int]]:
        """The items of a list, with their places and lengths in the file."""
        self._take("[")
        if self._peek() == "]":
            self._take("]")
            return
        while True:
            yield self._value()
            separator = _NEXT_ITEM.match(self._text, self._at)
            if separator is not None and separator.end() < len(self._text):
                self._at = separator.end()
            elif self._take(",]") == "]":
                return

    def _value(self) -> tuple[Any, int, int]:
        """The next value, its place and its length."""
        if self._text[self._at : self._at + 1] not in _STARTS:
            self._peek()
        # A value that is cut costs an exception, which counts the lines of the text.
        if len(self._text) - self._at <= self._longest and not self._ended:
            self._read_more()
        while True:
            try:
                value, end = _DECODER.raw_decode(self._text, self._at)
                if end < len(self._text) or self._ended:
                    break
            except json.JSONDecodeError:
                if self._ended:
                    raise
            self._read_more()
        start, self._at = self._at, end
        if end - start > self._longest:
            self._longest = end - start
        if not self._text.isascii():
            value = json.loads(self._text[start:end].encode("latin-1").decode())
        return value, self._before + start, end - start

    def _take(self, expected: str) -> str:
        """The next character, which is one of these."""
        found = self._peek()
        if not found or found not in expected:
            raise ValueError(f"{found!r} instead of one of {expected!r}")
        self._at += 1
        return found

    def _peek(self) -> str:
        """The next character that is not white; empty at the end."""
        while True:
            match = _SPACE.match(self._text, self._at)
            assert match is not None
            self._at = match.end()
            if self._at < len(self._text) or self._ended:
                return self._text[self._at : self._at + 1]
            self._read_more()

    def _read_more(self) -> None:
        """Read on: as much as is there, so that a long value is not looked at too often."""
        data = self._file.read(max(_CHUNK, len(self._text) - self._at))
        self._ended = not data
        self._before += self._at
        self._text = self._text[self._at :] + data.decode("latin-1")
        self._at = 0
