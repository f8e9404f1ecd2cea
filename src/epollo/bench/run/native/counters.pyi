from collections.abc import Callable

from epollo.bench.run.metrics import RunCounters

class MessageCounters(RunCounters):
    """The figures of a run."""

    def __init__(
        self, quota: int | None, due: Callable[[float], float] | None, over: Callable[[], object]
    ) -> None: ...
    def record(self, due: int, sent: int, now: int) -> None: ...
