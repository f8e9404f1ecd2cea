"""``--stop-if``: ends a run early when a limit is broken by what was measured so far."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from epollo.bench.results.partial import so_far
from epollo.bench.results.second import Second
from epollo.bench.results.thresholds import Threshold
from epollo.bench.workload import Workload


class Stopper:
    """Looks at each second of a run, and stops the run once when a limit is broken.

    A figure that is not known yet breaks no limit.

    Attributes:
        broken: the limit that was broken, and why; None if none was.
    """

    def __init__(self, limits: Sequence[Threshold]) -> None:
        self.broken: tuple[Threshold, str] | None = None
        self._limits = limits
        self._whole: Second | None = None

    def update(self, second: Second, workload: Workload, stop: Callable[[], object]) -> None:
        """The next second of the run, which ``stop`` stops."""
        if not self._limits or self.broken is not None:
            return
        self._whole = second if self._whole is None else self._whole.followed_by(second)
        result = so_far(workload, 0.0, [self._whole])
        for limit in self._limits:
            if limit.kind.read(result) is not None and (words := limit.check(result)):
                self.broken = limit, words
                stop()
                return
