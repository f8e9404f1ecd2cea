"""Rates: how many messages are due a second, and from that, when each message is due."""

from __future__ import annotations

import math
from dataclasses import dataclass

from epollo.errors import SettingError
from epollo.units import parse_number, parse_seconds


@dataclass(frozen=True, slots=True)
class Step:
    """A time span in which the rate changes linearly from ``start`` to ``end``."""

    start: float  # messages a second
    end: float
    seconds: float  # infinite if it has no end

    @property
    def messages(self) -> float:
        """How many messages are due in it."""
        return (self.start + self.end) / 2 * self.seconds

    def rate_at(self, seconds: float) -> float:
        """The rate, ``seconds`` after its start."""
        if self.start == self.end:
            return self.start
        return self.start + (self.end - self.start) * seconds / self.seconds

    def due(self, seconds: float) -> float:
        """How many messages are due in its first ``seconds``."""
        return (self.start + self.rate_at(seconds)) / 2 * seconds

    def time_of(self, count: float) -> float:
        """When ``count`` messages have been due: n = r t + (e - r) t^2 / 2d, solved for t."""
        if self.start == self.end:
            return count / self.start
        slope = (self.end - self.start) / self.seconds
        # This form loses no digits if the slope is small.
        return 2 * count / (self.start + math.sqrt(self.start**2 + 2 * slope * count))


@dataclass(frozen=True, slots=True)
class Profile:
    """Steps, one after the other."""

    steps: tuple[Step, ...]

    @property
    def seconds(self) -> float | None:
        """Their length together; None if there is no end."""
        total = sum(step.seconds for step in self.steps)
        return None if math.isinf(total) else total

    @property
    def highest(self) -> float:
        """The highest rate of all steps."""
        return max(max(step.start, step.end) for step in self.steps)

    def rate_at(self, seconds: float) -> float:
        """The rate at that time; after the last step, its final rate."""
        for step in self.steps:
            if seconds < step.seconds:
                return step.rate_at(seconds)
            seconds -= step.seconds
        return self.steps[-1].end

    def due(self, seconds: float) -> float:
        """How many messages are due before that time."""
        count = 0.0
        for step in self.steps:
            if seconds <= step.seconds:
                return count + step.due(seconds)
            count += step.messages
            seconds -= step.seconds
        return count

    def after(self, warmup: float) -> Profile:
        """This profile after ``warmup`` seconds at its first rate."""
        if not warmup:
            return self
        first = self.steps[0].start
        return Profile((Step(first, first, warmup), *self.steps))

    def scaled(self, part: float) -> Profile:
        """This profile with all rates multiplied by ``part``."""
        return Profile(tuple(Step(s.start * part, s.end * part, s.seconds) for s in self.steps))


def parse_rate(text: str | float) -> Profile:
    """``50k``, a ramp ``10k..100k/10s``, or steps ``10k/5s,20k/5s``, each of which may be a ramp.

    Raises SettingError that names the fix.
    """
    if not isinstance(text, str):
        return Profile((_flat(float(text), math.inf),))
    parts = text.split(",")
    steps = tuple(_step(part.strip(), alone=len(parts) == 1) for part in parts)
    return Profile(steps)


def _step(text: str, alone: bool) -> Step:
    start, ramp, remainder = text.partition("..")
    end, slash, seconds = (remainder if ramp else start).partition("/")
    try:
        first = parse_number(start if ramp else end)
        last = parse_number(end) if ramp else first
        length = parse_seconds(seconds) if slash else math.inf
    except ValueError as error:
        raise SettingError(f"rate: {error}") from None
    if not slash and (ramp or not alone):
        raise SettingError(f"rate: how long is {text!r}? write {text}/10s")
    if first <= 0 or last <= 0 or length <= 0:
        raise SettingError(f"rate: {text!r} must be above 0")
    return Step(first, last, length)


def _flat(rate: float, seconds: float) -> Step:
    if not 0 < rate < math.inf:
        raise SettingError(f"rate: {rate!r} must be above 0, and finite")
    return Step(rate, rate, seconds)
