"""The seconds of a run, in a file: however long the run is, they take no memory."""

from __future__ import annotations

import json
import math
import os
import tempfile
from array import array
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Protocol, overload

from epollo.bench.results.histogram import Histogram, StoredHistogram
from epollo.bench.results.result import SECOND_HISTOGRAMS, Second
from epollo.errors import EpolloError

_TIMES = ("start", "seconds", "target")
_SMALL = 1 << 20  # bytes
_COUNTS = ("sent", "messages", "errors", "outstanding")


class SecondSink(Protocol):
    """Takes the seconds of a run, one after the other."""

    def append(self, second: Second, /) -> None:
        """The next second."""

    def amend(self, number: int, more: tuple[Histogram, Histogram, Histogram], /) -> None:
        """Add these values to the histograms of an earlier second."""

    def complete(self) -> None:
        """No more are to come."""


class Series(Sequence[Second]):
    """Seconds in a temporary file without a name, which is gone when this object is.

    Only their counts are in memory, with the place of each second in the file: 64 bytes. Histograms
    are read when they are used. In the file, a second is its line in the result's JSON, after what
    that line does not tell exactly.
    """

    def __init__(self, seconds: Iterable[Second] = ()) -> None:
        self._file = -1  # its descriptor
        self._data: bytes | None = None  # all of a small file, instead of it
        self._end = 0  # of the file
        self._places = array("Q")
        self._lengths = array("I")
        self._times = {name: array("d") for name in _TIMES}
        self._counts = {name: array("Q") for name in _COUNTS}
        for second in seconds:
            self.append(second)

    def __del__(self) -> None:
        self.close()

    def close(self) -> None:
        """Close the file: its seconds cannot be read any more."""
        file, self._file = self._file, -1
        if file >= 0:
            os.close(file)

    def complete(self) -> None:
        """No more are to come: a small file is taken into memory, and needs no descriptor."""
        if self._file >= 0 and self._end <= _SMALL:
            self._data = os.pread(self._file, self._end, 0)
            self.close()

    def append(self, second: Second) -> None:
        """Add the next one."""
        for name, times in self._times.items():
            value = getattr(second, name)
            times.append(math.nan if value is None else value)
        for name, counts in self._counts.items():
            counts.append(getattr(second, name))
        place, length = self._write(second)
        self._places.append(place)
        self._lengths.append(length)

    def amend(self, number: int, more: tuple[Histogram, Histogram, Histogram]) -> None:
        """Add these values to the histograms of that second."""
        second = self[number]
        pairs = zip(SECOND_HISTOGRAMS, more, strict=True)
        merged = [getattr(second, name).merged(other) for name, other in pairs]
        place, length = self._write(second.having(*merged))
        self._places[number], self._lengths[number] = place, length

    def lines(self) -> Iterator[str]:
        """Each second as one line of JSON."""
        for number in range(len(self)):
            yield self._read(number)[1].decode()

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, index: int) -> Second: ...
    @overload
    def __getitem__(self, index: slice) -> list[Second]: ...
    def __getitem__(self, index: int | slice) -> Second | list[Second]:
        if isinstance(index, slice):
            return [self._second(number) for number in range(*index.indices(len(self)))]
        number = index + len(self) if index < 0 else index
        if not 0 <= number < len(self):
            raise IndexError(index)
        return self._second(number)

    def __reduce__(self) -> Any:
        return Series, (list(self),)

    def _second(self, number: int) -> Second:
        values: dict[str, Any] = {name: times[number] for name, times in self._times.items()}
        values |= {name: counts[number] for name, counts in self._counts.items()}
        if math.isnan(values["target"]):
            values["target"] = None
        for name in SECOND_HISTOGRAMS:
            values[name] = StoredHistogram(partial(self._stored, number, name))
        return Second(**values)

    def _stored(self, number: int, name: str) -> tuple[str, tuple[int, int, int, int] | None]:
        exact, line = self._read(number)
        return json.loads(line)[name], json.loads(exact)[name]

    def _write(self, second: Second) -> tuple[int, int]:
        """Write it at the end of the file; returns its place and its length."""
        if self._file < 0:
            self._file = _new_file()
        exact = {name: getattr(second, name).exact for name in SECOND_HISTOGRAMS}
        line = f"{json.dumps(exact)}\n{json.dumps(second.to_document())}".encode()
        place = self._end
        while line:
            try:
                written = os.pwrite(self._file, line, self._end)
            except OSError as error:
                raise _unwritable(error) from error
            self._end += written
            line = line[written:]
        return place, self._end - place

    def _read(self, number: int) -> tuple[bytes, bytes]:
        place, length = self._places[number], self._lengths[number]
        if self._data is not None:
            data = self._data[place : place + length]
        else:
            data = os.pread(self._file, length, place)
        exact, _, line = data.partition(b"\n")
        return exact, line


def _new_file() -> int:
    """The descriptor of a new file without a name. Raises EpolloError."""
    try:
        file, path = tempfile.mkstemp(prefix="epollo-bench-")
    except OSError as error:
        raise _unwritable(error) from error
    Path(path).unlink()
    return file


def _unwritable(error: OSError) -> EpolloError:
    where = tempfile.gettempdir()
    return EpolloError(
        f"cannot keep the seconds of the run in {where}: {error.strerror}; "
        "set TMPDIR to a directory with space"
    )
