"""What a loop watches, and what the watched ask of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from epollo.engine import Timer


class Source(Protocol):
    """Whatever the loop watches a descriptor for."""

    def ready(self, events: int) -> None: ...
    def abort(self) -> None: ...


class Watcher(Protocol):
    """What a connection asks of its loop."""

    thread: int | None
    polling: bool  # in a turn
    turning: bool  # serving what was ready
    tick: int  # counts the sweeps, for the stamps of connections

    def watch(self, fd: int, source: Source, events: int) -> None:
        """Tell ``source`` when ``fd`` is ready for one of ``events``; replaces an earlier watch."""

    def look_away(self, fd: int) -> None:
        """Keep ``fd``, but ask nothing of it until it is watched again."""

    def soil(self, connection: Any) -> None:
        """Flush ``connection``, and decide on it, when the turn ends."""

    def bury(self, connection: Any) -> None:
        """Unwatch now; close the descriptor, and call ``closed``, at the end of the turn."""

    def call_later(self, seconds: float, callback: Callable[[], object]) -> Timer: ...
    def call_threadsafe(self, callback: Callable[[], object]) -> None: ...
    def report(self, error: BaseException, what: str) -> None: ...
    def pass_on(self, error: BaseException) -> None: ...
