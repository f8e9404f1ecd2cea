"""The seconds of a run, in a file: however long the run is, they take little memory."""

from __future__ import annotations

import json
import math
import os
import tempfile
from array import array
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import Any, Protocol, TypeAlias, overload

from epollo.bench.results.hdr import BUCKETS
from epollo.bench.results.histogram import Histogram, StoredHistogram
from epollo.bench.results.reading import check_numbers, typed_errors
from epollo.bench.results.second import SECOND_HISTOGRAMS, Second

Histograms: TypeAlias = tuple[Histogram, Histogram, Histogram]
"""Response, service and slip."""
Exact: TypeAlias = tuple[int, int, int, int]

MINUTE = 60  # seconds
_TIMES = ("start", "seconds", "target")
_COUNTS = ("sent", "messages", "errors", "outstanding")
_NAMES = (*_TIMES, *_COUNTS)
_VALUES = itemgetter(*_NAMES)
_UNTARGETED = itemgetter(*(name for name in _NAMES if name != "target"))
_SMALL = 1 << 20  # bytes
_LONG = 2 * 60 * MINUTE  # seconds; a longer run is summed up by minutes too


class SecondSink(Protocol):
    """Takes the seconds of a run, one after the other."""

    def append(self, second: Second, /) -> None:
        """The next second."""

    def amend(self, place: int, more: Histograms, /) -> None:
        """Add these values to the histograms of an earlier second."""

    def complete(self) -> None:
        """No more are to come."""


class Series(Sequence[Second]):
    """Seconds that are in a file. Only their counts are in memory, and the place of each in the
    file: some 70 bytes. Histograms are read when they are used."""

    def __init__(self) -> None:
        self._file = -1  # its descriptor
        self._places = array("Q")
        self._lengths = array("I")
        self._columns: dict[str, array[Any]] = {
            name: array("d" if name in _TIMES else "Q") for name in _NAMES
        }

    def __del__(self) -> None:
        self.close()

    def close(self) -> None:
        """Close the file: the histograms cannot be read any more."""
        file, self._file = self._file, -1
        if file >= 0:
            os.close(file)

    @property
    def minutes(self) -> Sequence[Histogram]:
        """The responses of each minute together; empty if they are not known."""
        return []

    def column(self, name: str) -> Sequence[float]:
        """That count or time of each second."""
        return self._columns[name]

    def lines(self) -> Iterator[str]:
        """Each second as one line of JSON."""
        for place in range(len(self)):
            yield json.dumps(self[place].to_document())

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, index: int) -> Second: ...
    @overload
    def __getitem__(self, index: slice) -> list[Second]: ...
    def __getitem__(self, index: int | slice) -> Second | list[Second]:
        if isinstance(index, slice):
            return [self._second(place) for place in range(*index.indices(len(self)))]
        place = index + len(self) if index < 0 else index
        if not 0 <= place < len(self):
            raise IndexError(index)
        return self._second(place)

    def __reduce__(self) -> Any:
        return list, (list(self),)

    def _add(self, values: Iterable[Any], place: int, length: int) -> None:
        for column, value in zip(self._columns.values(), values, strict=True):
            column.append(math.nan if value is None else value)
        self._places.append(place)
        self._lengths.append(length)

    def _second(self, place: int) -> Second:
        values: dict[str, Any] = {name: column[place] for name, column in self._columns.items()}
        if math.isnan(values["target"]):
            values["target"] = None
        for name in SECOND_HISTOGRAMS:
            values[name] = StoredHistogram(partial(self._stored, place, name))
        return Second(**values)

    def _stored(self, place: int, name: str) -> tuple[str, Exact | None]:
        """That histogram of a second, and what its text does not tell exactly."""
        with typed_errors():
            return json.loads(self._read(self._places[place], self._lengths[place]))[name], None

    def _read(self, place: int, length: int) -> bytes:
        return os.pread(self._file, length, place)


class RecordedSeries(Series):
    """The seconds of a run that goes on, in a temporary file without a name, which is gone when
    this object is; in memory if there is no space for it. There, a second is its line in the
    result's JSON, after what that line does not tell exactly."""

    def __init__(self) -> None:
        super().__init__()
        self._end = 0  # of the file
        self._data: bytearray | None = None  # all of it, without a file
        self._minutes: list[tuple[int, int]] = []  # place and length of each
        self._amended: set[int] = set()  # minutes
        self._minute = array("Q", bytes(8 * BUCKETS))  # responses since the last one

    def append(self, second: Second) -> None:
        """Add the next one."""
        place, length = self._write_second(second)
        self._add((getattr(second, name) for name in _NAMES), place, length)
        second.response.add_to(self._minute)
        if len(self) % MINUTE == 0:
            self._end_minute()

    def amend(self, place: int, more: Histograms) -> None:
        """Add these values to the histograms of that second."""
        second = self[place]
        pairs = zip(SECOND_HISTOGRAMS, more, strict=True)
        merged = [getattr(second, name).merged(other) for name, other in pairs]
        self._places[place], self._lengths[place] = self._write_second(second.having(*merged))
        self._amended.add(place // MINUTE)

    def complete(self) -> None:
        """No more are to come: a small file is taken into memory, and needs no descriptor."""
        if len(self) % MINUTE:
            self._end_minute()
        if self._data is None and self._end <= _SMALL:
            self._take_into_memory()

    @property
    def minutes(self) -> Sequence[Histogram]:
        if len(self._minutes) * MINUTE < len(self):
            return []
        return [self._minute_at(place) for place in range(len(self._minutes))]

    def lines(self) -> Iterator[str]:
        for place, length in zip(self._places, self._lengths, strict=True):
            yield self._read(place, length).partition(b"\n")[2].decode()

    def _stored(self, place: int, name: str) -> tuple[str, Exact | None]:
        data = self._read(self._places[place], self._lengths[place])
        exact, _, line = data.partition(b"\n")
        return json.loads(line)[name], json.loads(exact)[name]

    def _end_minute(self) -> None:
        whole = Histogram.of_dense(self._minute)
        self._minutes.append(self._write(whole.encode().encode()))
        self._minute[:] = array("Q", bytes(8 * BUCKETS))

    def _minute_at(self, place: int) -> Histogram:
        if place in self._amended:
            seconds = self[place * MINUTE : (place + 1) * MINUTE]
            return Histogram.sum(second.response for second in seconds)
        text = self._read(*self._minutes[place]).decode()
        return StoredHistogram(lambda: (text, None))

    def _write_second(self, second: Second) -> tuple[int, int]:
        exact = {name: getattr(second, name).exact for name in SECOND_HISTOGRAMS}
        line = f"{json.dumps(exact)}\n{json.dumps(second.to_document())}"
        return self._write(line.encode())

    def _write(self, data: bytes) -> tuple[int, int]:
        """Write it at the end; returns its place and its length."""
        place, length = self._end, len(data)
        try:
            while data and self._data is None:
                if self._file < 0:
                    self._file = _new_file()
                written = os.pwrite(self._file, data, self._end)
                self._end += written
                data = data[written:]
        except OSError:  # such as a full disk: the run goes on
            self._take_into_memory()
        if self._data is not None:
            self._data += data
            self._end += len(data)
        return place, length

    def _take_into_memory(self) -> None:
        self._data = bytearray(super()._read(0, self._end) if self._file >= 0 else b"")
        self.close()

    def _read(self, place: int, length: int) -> bytes:
        if self._data is not None:
            return bytes(self._data[place : place + length])
        return super()._read(place, length)


class FileSeries(Series):
    """The seconds in the file of a result."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._minutes: list[str] = []

    def add(self, document: Any, place: int, length: int) -> None:
        """Add the next second, which is at that place of the file. Raises ValueError and others
        for what is not a second."""
        values = _VALUES(document)
        check_numbers(values if document["target"] is not None else _UNTARGETED(document))
        self._add(values, place, length)

    def set_minutes(self, texts: Sequence[str]) -> None:
        """The responses of each minute, as `minutes` returns them."""
        self._minutes = list(texts)

    @property
    def minutes(self) -> Sequence[Histogram]:
        if len(self._minutes) != math.ceil(len(self) / MINUTE):
            return []
        return [StoredHistogram(partial(_untold, text)) for text in self._minutes]


def column(seconds: Sequence[Second], name: str) -> Sequence[float]:
    """That count or time of each second; nan for no target."""
    if isinstance(seconds, Series):
        return seconds.column(name)
    values = (getattr(second, name) for second in seconds)
    return [math.nan if value is None else value for value in values]


def lines_of(seconds: Sequence[Second]) -> Iterator[str]:
    """Each second as one line of JSON."""
    if isinstance(seconds, Series):
        return seconds.lines()
    return (json.dumps(second.to_document()) for second in seconds)


def minutes_of(seconds: Sequence[Second]) -> Iterable[str] | None:
    """The responses of each minute of a long run, as text: to read a day of seconds takes long."""
    if not isinstance(seconds, Series) or len(seconds) <= _LONG or not seconds.minutes:
        return None
    return (minute.encode() for minute in seconds.minutes)


def _untold(text: str) -> tuple[str, None]:
    return text, None


def _new_file() -> int:
    """The descriptor of a new file without a name. Raises OSError."""
    file, path = tempfile.mkstemp(prefix="epollo-bench-")
    Path(path).unlink()
    return file
