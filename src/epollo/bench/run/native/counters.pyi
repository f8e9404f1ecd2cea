from collections.abc import Callable
from typing import Any

from epollo.bench.results.series import SecondSink
from epollo.bench.run.metrics import RunCounters

class MessageCounters(RunCounters):
    """The figures of a run."""

    def __init__(
        self,
        quota: int | None,
        due: Callable[[float], float] | None,
        over: Callable[[], object],
        sink: SecondSink | None = None,
    ) -> None: ...
    def recorders(self) -> Callable[[], Any]: ...
    def select(self, recorders: Any) -> None: ...
    def record(self, due: int, sent: int, now: int) -> None: ...
    def record_many(self, due: int, response: int, service: int, count: int) -> None: ...
