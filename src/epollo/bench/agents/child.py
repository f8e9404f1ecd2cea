"""The process of one share: ``python -m epollo.bench.agents.child``.

It reads its share, and then `Go` and `Stop`, from stdin; it writes what it measures to stdout; each
is a line of JSON. When stdin ends, for whatever reason, this process ends.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from queue import SimpleQueue
from typing import BinaryIO

from epollo.bench.agents.assignment import Assignment
from epollo.bench.agents.messages import (
    Amended,
    Closed,
    Live,
    Outcome,
    Ready,
    Stop,
    Told,
    line_of,
    message_of,
)
from epollo.bench.results.histogram import Histogram
from epollo.bench.results.second import Second
from epollo.bench.run.driver import Driver
from epollo.bench.switching import switching_often
from epollo.errors import EpolloError


class Writer:
    """Writes messages in a thread of its own, because that would delay messages of the run."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._queue: SimpleQueue[Told | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._write, name="epollo-share", daemon=True)
        self._thread.start()

    def send(self, message: Told) -> None:
        """Write it soon."""
        self._queue.put(message)

    def close(self) -> None:
        """Wait until all is written."""
        self._queue.put(None)
        self._thread.join()

    def _write(self) -> None:
        try:
            while (message := self._queue.get()) is not None:
                line = line_of(message)
                while line:
                    line = line[os.write(self._descriptor, line) :]
        except OSError:  # its parent is gone
            os._exit(1)


class Sender:
    """Sends the seconds of a share to the process that adds them up."""

    def __init__(self, send: Callable[[Told], object]) -> None:
        self._send = send

    def append(self, second: Second) -> None:
        self._send(Closed(second))

    def amend(self, number: int, more: tuple[Histogram, Histogram, Histogram]) -> None:
        self._send(Amended(number, more))

    def complete(self) -> None:
        """The outcome says so."""


class ShardRun:
    """Runs a share; waits for `Go` before each phase."""

    def __init__(self, share: Assignment, lines: BinaryIO, send: Callable[[Told], object]) -> None:
        self._input = lines
        self._send = send
        self._driver = Driver(
            share.workload,
            lambda second: send(Live(second)),
            share.shard,
            opened=self._wait,
            sink=Sender(send),
            figures=send if share.figures else None,
        )
        self._starts: SimpleQueue[int] = SimpleQueue()

    def run(self) -> Outcome:
        """Run to the end. Raises SettingError as Driver does."""
        threading.Thread(target=self._listen, daemon=True).start()
        self._wait()
        start = self._starts.get()
        time.sleep(max(0, start - time.monotonic_ns()) / 1e9)
        result = self._driver.measure(start)
        refusal = None if result.connect.total else self._driver.refused()
        return Outcome(result, refusal)

    def _wait(self) -> None:
        self._send(Ready())

    def _listen(self) -> None:
        begin: Callable[[int], None] = self._starts.put  # for the first Go
        for line in self._input:
            message = message_of(line)
            if isinstance(message, Stop):
                self._driver.stop(interrupted=message.interrupted)
            else:
                begin(message.at)
                begin = self._driver.begin
        os._exit(1)  # its parent is gone


def main() -> None:
    """Run the share, and send its outcome or its error."""
    # What a user's function prints must not get between the messages.
    output = os.dup(1)
    os.dup2(2, 1)
    lines = open(os.dup(0), "rb")  # noqa: PTH123, SIM115 (until the process ends)
    line = lines.readline().decode()
    if not line:
        os._exit(1)
    with switching_often():
        writer = Writer(output)
        try:
            writer.send(ShardRun(Assignment.of_json(line), lines, writer.send).run())
        except EpolloError as error:
            writer.send(error)
        writer.close()


if __name__ == "__main__":
    main()
