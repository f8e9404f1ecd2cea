"""What a server does with each message, and when: decided before a run."""

from __future__ import annotations

import random
from dataclasses import dataclass

SECOND = 10**9

DEEDS = ("flip", "flip_number", "shorten", "repeat", "swap", "swallow", "extra", "late")
"""What can be done to a reply. Its place here, from 1 on, stands for it in a record."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Behaviour:
    """One server. Times are in seconds.

    Without ``queue`` it is a pure delay: each message is answered after its own service time,
    however many others there are, so that its utilisation is 0. With ``queue`` it is a single
    server, first come, first served: its utilisation is the rate of arrivals times ``service``.

    Attributes:
        service: that a message takes.
        slow, slow_every: every ``slow_every``-th message takes ``slow`` instead of ``service``.
        exponential: service times are drawn by chance, and ``service`` is their mean.
        queue: a message is begun when all before it are done.
        stall: how long nothing is done, once: a pure delay sends no reply, a queue does no work.
        stall_at: when that begins, after the first message came.
        deeds: what is done to replies, in turn: see DEEDS.
        every: so many-th message has it done to its reply...
        since, until: ...behind that message, and up to that one; by number from 1 on.
        late: by how much a ``late`` reply is late.
        seed: of the service times drawn.
        virtual: a message counts as arrived when it was due, not when it came: so what is due when
            depends on the schedule of the tester alone, and on no machine.
        exact: take a core, and the processor before others, to send replies when they are due.
        announced: the number of the message whose arrival is announced.
    """

    service: float = 0.0
    slow: float = 0.0
    slow_every: int = 0
    exponential: bool = False
    queue: bool = False
    stall: float = 0.0
    stall_at: float = 0.0
    deeds: tuple[str, ...] = ()
    every: int = 1
    since: int = 0
    until: int = 0
    late: float = 0.0
    seed: int = 1
    virtual: bool = False
    exact: bool = True
    announced: int = 1

    def deed(self, number: int) -> int:
        """What is done to the reply to the message of that number; 0: it is correct."""
        number -= self.since
        if not self.deeds or not 0 < number <= self.until - self.since or number % self.every:
            return 0
        index = number // self.every - 1
        return 1 + DEEDS.index(self.deeds[index % len(self.deeds)])


class Timing:
    """When a behaviour's replies are due. It knows no clock: times are in ns from anywhere."""

    def __init__(self, behaviour: Behaviour) -> None:
        self._behaviour = behaviour
        self._chance = random.Random(behaviour.seed)  # noqa: S311 (a delay is no secret)
        self._number = 0
        self._free = 0  # a queue's: when all that came before is done
        self._stall_from = 0
        self._stall_to = 0

    def due(self, arrived: int) -> int:
        """When to answer the message that came at ``arrived``. To be asked in their order."""
        if not self._number:
            self._stall_from = arrived + round(self._behaviour.stall_at * SECOND)
            self._stall_to = self._stall_from + round(self._behaviour.stall * SECOND)
        self._number += 1
        took = self._service()
        if self._behaviour.queue:
            self._free = self._worked(max(arrived, self._free), took)
            return self._free
        return self._held(arrived + took)

    def _service(self) -> int:
        behaviour = self._behaviour
        if behaviour.exponential:
            return round(self._chance.expovariate(1 / behaviour.service) * SECOND)
        slow = behaviour.slow_every and self._number % behaviour.slow_every == 0
        return round((behaviour.slow if slow else behaviour.service) * SECOND)

    def _held(self, at: int) -> int:
        """A reply due in the stall is sent at its end."""
        return self._stall_to if self._stall_from <= at < self._stall_to else at

    def _worked(self, start: int, took: int) -> int:
        """When work is done that nobody does in the stall."""
        if self._stall_from <= start < self._stall_to:
            start = self._stall_to
        done = start + took
        return done + self._stall_to - self._stall_from if start < self._stall_from < done else done
