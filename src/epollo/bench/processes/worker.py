"""The process of one shard: ``python -m epollo.bench.processes.worker DESCRIPTOR``.

`running` starts it, and talks to it through the socket of that descriptor. When the socket is
closed, for whatever reason, this process ends.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from queue import SimpleQueue
from typing import Any

from epollo.bench.processes.shard_messages import Amended, Closed, Outcome, Ready, Stop
from epollo.bench.results.histogram import Histogram
from epollo.bench.results.second import Second
from epollo.bench.run.driver import Driver
from epollo.errors import EpolloError


class Sender:
    """Sends the seconds of a shard to the process that adds them up."""

    def __init__(self, parent: Connection[Any, Any]) -> None:
        self._parent = parent

    def append(self, second: Second) -> None:
        self._parent.send(Closed(second))

    def amend(self, number: int, more: tuple[Histogram, Histogram, Histogram]) -> None:
        self._parent.send(Amended(number, more))

    def complete(self) -> None:
        """The outcome says so."""


class Worker:
    """Runs its shard of a workload; waits for `Go` before each phase."""

    def __init__(self, parent: Connection[Any, Any]) -> None:
        workload, shard, figures = parent.recv()
        self._parent = parent
        self._driver = Driver(
            workload,
            parent.send,
            shard,
            opened=self._wait,
            sink=Sender(parent),
            figures=parent.send if figures else None,
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
        self._parent.send(Ready())

    def _listen(self) -> None:
        begin: Callable[[int], None] = self._starts.put  # for the first Go
        try:
            while True:
                message = self._parent.recv()
                if isinstance(message, Stop):
                    self._driver.stop(interrupted=message.interrupted)
                else:
                    begin(message.at)
                    begin = self._driver.begin
        except (EOFError, OSError):
            os._exit(1)  # the parent is gone


def main(descriptor: int) -> None:
    """Run the shard, and send its outcome or its error."""
    parent: Connection[Any, Any] = Connection(descriptor)
    try:
        try:
            parent.send(Worker(parent).run())
        except EpolloError as error:
            parent.send(error)
    except (EOFError, BrokenPipeError):  # the parent is gone
        os._exit(1)


if __name__ == "__main__":
    main(int(sys.argv[1]))
