"""What a run has measured so far, written to NAME.partial while it goes on."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Self, TextIO

from epollo.bench.results import csv, hlog, partial
from epollo.bench.results.second import Second
from epollo.bench.switching import switching_often
from epollo.bench.workload import Workload


class PartialFile:
    """One file: a head, and lines for each second. If it cannot be written it is given up: at the
    end the whole file is written, or the error told."""

    def __init__(self, path: str, line: Callable[[Second, float], str]) -> None:
        self.path: Path = Path(f"{path}{partial.SUFFIX}")
        self._line = line
        self._file: TextIO | None = None
        with suppress(OSError):
            self._file = self.path.open("w", encoding="utf-8", errors="backslashreplace")

    def write(self, text: str) -> None:
        """Write a line to the disk."""
        try:
            if self._file is not None:
                self._file.write(f"{text}\n")
                self._file.flush()
        except OSError:
            self.close()

    def add(self, second: Second, started: float) -> None:
        """Write the lines of a second."""
        if self._file is not None:
            self.write(self._line(second, started))

    def close(self) -> None:
        """Write no more."""
        file, self._file = self._file, None
        with suppress(OSError):
            if file is not None:
                file.close()


class PartialFiles:
    """The partial files of a run. A thread writes them, because that would delay messages of the
    run."""

    def __init__(self, workload: Workload, paths: dict[str, str]) -> None:
        self._workload = workload
        self._files = {
            name: PartialFile(path, self._lines[name])
            for name, path in paths.items()
            if name in self._lines and _is_file(path)
        }
        self._queue: SimpleQueue[Second | None] = SimpleQueue()
        self._writer = Thread(target=self._write, name="epollo-partial", daemon=True)
        self._switching = ExitStack()
        self._started = 0.0

    def __enter__(self) -> Self:
        if self._files:
            self._switching.enter_context(switching_often())
            self._writer.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._files:
            self._queue.put(None)
            self._writer.join()
            self._switching.close()
        for name, file in self._files.items():
            file.close()
            if not self._started:  # nothing was measured
                self.remove(name)

    def update(self, second: Second) -> None:
        """Write the last second."""
        if self._files:
            self._queue.put(second)

    def remove(self, name: str) -> None:
        """The whole file is written: the partial one of this name is not needed any more."""
        if name in self._files:
            with suppress(OSError):
                self._files[name].path.unlink()

    @property
    def _lines(self) -> dict[str, Callable[[Second, float], str]]:
        open_loop = self._workload.open_loop
        return {
            "json": lambda second, _: partial.line(second),
            "hlog": lambda second, _: hlog.lines(second, open_loop),
            "csv": csv.line,
        }

    def _write(self) -> None:
        while (second := self._queue.get()) is not None:
            if not self._started:
                self._begin(time.time() - second.seconds)
            for file in self._files.values():
                file.add(second, self._started)

    def _begin(self, started: float) -> None:
        """The window began at ``started``, in seconds since the epoch."""
        self._started = started
        heads = {
            "json": partial.head(self._workload, started),
            "hlog": hlog.head(self._workload, started),
            "csv": csv.head(),
        }
        for name, file in self._files.items():
            file.write(heads[name])


def _is_file(path: str) -> bool:
    """Will ``path`` be a file, and not stdout or a device?"""
    return path != "-" and (Path(path).is_file() or not os.path.lexists(path))
