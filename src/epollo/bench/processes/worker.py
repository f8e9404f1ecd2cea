"""One of the processes of a load test: ``python -m epollo.bench.processes.worker DESCRIPTOR``.

processes.py starts it, and talks to it through the socket of that descriptor. When that is closed,
for whatever reason, this process ends: it outlives nobody.
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

from epollo.bench.processes.orders import Outcome, Ready, Stop
from epollo.bench.run.driver import Driver
from epollo.errors import EpolloError


class Worker:
    """Runs its share of a workload, and goes on when it is told to."""

    def __init__(self, parent: Connection[Any, Any]) -> None:
        workload, share = parent.recv()
        self._parent = parent
        self._driver = Driver(workload, parent.send, share, opened=self._wait)
        self._starts: SimpleQueue[int] = SimpleQueue()

    def run(self) -> Outcome:
        """To the end. Raises SettingError as Driver does."""
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
        begin: Callable[[int], None] = self._starts.put  # what the first order to go is for
        try:
            while True:
                order = self._parent.recv()
                if isinstance(order, Stop):
                    self._driver.stop()
                else:
                    begin(order.at)
                    begin = self._driver.begin
        except (EOFError, OSError):
            os._exit(1)  # nobody is left to report to


def main(descriptor: int) -> None:
    """Run it, and tell how it ended."""
    parent: Connection[Any, Any] = Connection(descriptor)
    try:
        try:
            parent.send(Worker(parent).run())
        except EpolloError as error:
            parent.send(error)
    except (EOFError, BrokenPipeError):  # so it is for _listen
        os._exit(1)


if __name__ == "__main__":
    main(int(sys.argv[1]))
