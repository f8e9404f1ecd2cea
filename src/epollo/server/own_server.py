"""A server of one process, as its metrics see it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from epollo.control.inquirer import Answer, Values


class OwnServer:
    """Keeps `epollo.metrics.watched.WatchedServer`."""

    answers: bool = True
    """The question comes from the loop itself, so it runs."""

    def __init__(self, is_ready: Callable[[], bool]) -> None:
        self._is_ready = is_ready

    @property
    def ready(self) -> bool:
        return self._is_ready()

    def figures(self, answers: Sequence[Answer]) -> Mapping[int, Values]:
        told = [each.values for each in answers if each.values and "error" not in each.values]
        return dict(enumerate(told))

    def supervisor(self) -> None:
        """There is none."""
