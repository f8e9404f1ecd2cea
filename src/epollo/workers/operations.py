"""What an operator may do to a supervisor and its workers."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Sequence
from typing import Protocol

from epollo.control.inquirer import Answer, Values
from epollo.control.operations import Done, ProcessState, Refused
from epollo.control.totals import total
from epollo.workers.pool import Pool
from epollo.workers.replacement import Outcome, Replacements
from epollo.workers.scaling import Scaling
from epollo.workers.totals import Totals


class SupervisorState(Protocol):
    """What the supervisor says of itself, and does."""

    @property
    def ready_line(self) -> str:
        """Empty before all workers serve."""

    @property
    def stopping(self) -> bool: ...

    @property
    def before(self) -> int | None:
        """The process of a supervisor that has handed over and still drains."""

    @property
    def busy_with(self) -> str:
        """Why its workers stay as they are for now; empty if they need not."""

    def stop(self) -> None:
        """As by SIGTERM."""

    def reload(self, done: Done) -> None:
        """Replace all workers."""


class SupervisorOperations:
    """Steers the workers of ``pool`` (see `epollo.control.operations.Operations`)."""

    def __init__(
        self,
        supervisor: SupervisorState,
        pool: Pool,
        replacements: Replacements,
        scaling: Scaling,
        totals: Totals,
    ) -> None:
        self._supervisor = supervisor
        self._pool = pool
        self._replacements = replacements
        self._scaling = scaling
        self._totals = totals
        self._began = time.monotonic()

    def overview(self) -> Values:
        return {
            "pid": os.getpid(),
            "ready_line": self._supervisor.ready_line,
            "stage": "drains" if self._supervisor.stopping else "serves",
            "uptime": round(time.monotonic() - self._began, 3),
            "workers": self._scaling.wanted,
            "before": self._supervisor.before,
        }

    def totals(self, answers: Sequence[Answer]) -> Values:
        """What the workers have just answered is in them already."""
        return total(*self._totals.by_slot().values())

    def processes(self) -> Sequence[ProcessState]:
        return [
            ProcessState(worker.pid, slot, worker.stage.value, worker.age)
            for worker, slot in self._pool.workers()
        ]

    def stop(self) -> Values:
        self._supervisor.stop()
        return {"stopping": True}

    def drain(self, slot: int, done: Done) -> None:
        self._check("drain")
        place = next((each for each in self._pool.slots if each.index == slot), None)
        if place is None:
            numbers = ", ".join(str(each.index + 1) for each in self._pool.slots)
            raise Refused(f"no worker {slot + 1}: there are {numbers}")
        before = place.current

        def tell(outcome: Outcome) -> None:
            if outcome.error:
                done({"error": f"worker {slot + 1} goes on: {outcome.error}"})
                return
            after = place.current
            done(
                {
                    "worker": slot + 1,
                    "draining": None if before is None else before.pid,
                    "serving": None if after is None else after.pid,
                    "seconds": round(outcome.seconds, 3),
                }
            )

        if not self._replacements.replace(place, tell):
            raise Refused(f"worker {slot + 1} is being replaced already, or given up")

    def reload(self, done: Done) -> None:
        self._check("reload")
        self._supervisor.reload(done)

    def scale(self, by: int) -> Values:
        self._check("add" if by > 0 else "remove")
        before = self._scaling.wanted
        refusal = self._scaling.change(by)
        if refusal:
            raise Refused(refusal)
        return {"workers": self._scaling.wanted, "before": before}

    def log_level(self, level: str | None, logger: str) -> Values:
        log = logging.getLogger("" if logger == "root" else logger)
        if level is not None:
            log.setLevel(level.upper())
        return {
            "pid": os.getpid(),
            "level": logging.getLevelName(log.getEffectiveLevel()).lower(),
        }

    def _check(self, command: str) -> None:
        if self._supervisor.stopping:
            raise Refused(f"{command}: the server is stopping")
        busy = self._supervisor.busy_with
        if busy:
            raise Refused(f"{command}: {busy}; try again when that is over")
