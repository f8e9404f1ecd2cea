"""What an operator may do to a server of one process."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Sequence

from epollo.control.inquirer import Answer, Values
from epollo.control.operations import Done, ProcessState, Refused
from epollo.control.totals import total


class OwnOperations:
    """Steers the one process of a server without workers, which is this one (see
    `epollo.control.operations.Operations`). ``stop`` is what a signal does; ``is_stopping`` says
    whether it was done."""

    def __init__(
        self,
        ready_line: Callable[[], str],
        is_stopping: Callable[[], bool],
        stop: Callable[[int], object],
    ) -> None:
        self._ready_line = ready_line
        self._is_stopping = is_stopping
        self._stop = stop
        self._began = time.monotonic()

    def overview(self) -> Values:
        return {
            "pid": os.getpid(),
            "ready_line": self._ready_line(),
            "stage": self._stage,
            "uptime": round(time.monotonic() - self._began, 3),
            "workers": None,
            "before": None,
        }

    def totals(self, answers: Sequence[Answer]) -> Values:
        told = (each.values for each in answers if each.values is not None)
        return total(*(values for values in told if "error" not in values))

    def processes(self) -> Sequence[ProcessState]:
        age = time.monotonic() - self._began
        return [ProcessState(os.getpid(), None, self._stage, age)]

    def stop(self) -> Values:
        self._stop(signal.SIGTERM)
        return {"stopping": True}

    def drain(self, slot: int, done: Done) -> None:
        raise self._refusal("drain")

    def reload(self, done: Done) -> None:
        raise self._refusal("reload")

    def scale(self, by: int) -> Values:
        raise self._refusal("add" if by > 0 else "remove")

    def log_level(self, level: str | None, logger: str) -> Values:
        return {}

    @property
    def _stage(self) -> str:
        return "drains" if self._is_stopping() else "serves"

    @staticmethod
    def _refusal(command: str) -> Refused:
        return Refused(f"{command}: needs workers, and this server is one process; set workers")
