"""Serves figures on a loop in a thread of its own, next to a loop that must not be held up."""

from __future__ import annotations

from collections.abc import Callable
from threading import Thread
from typing import Self

from prometheus_client import CollectorRegistry

from epollo.engine import new_loop
from epollo.metrics.listener import MetricsListener, listening_on
from epollo.metrics.pages import registry_pages


class MetricsThread:
    """Serves the figures of ``registry`` on ``bind`` within a ``with`` block. Raises AddressError
    and BindError.

    The figures are computed in the thread: what changes them goes through `post`.
    """

    def __init__(self, bind: str, registry: CollectorRegistry) -> None:
        self._loop = new_loop()
        try:
            bound = listening_on(bind)
            self._listener = MetricsListener(self._loop, bound, registry_pages(registry))
            self._listener.begin()
        except BaseException:
            self._loop.close()
            raise
        self.url: str = self._listener.url
        self._thread = Thread(target=self._serve, name="epollo-metrics", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_threadsafe(self._loop.stop)
        self._thread.join()

    def post(self, callback: Callable[[], object]) -> None:
        """Call ``callback`` in the thread, soon. From any thread."""
        self._loop.call_threadsafe(callback)

    def _serve(self) -> None:
        try:
            self._loop.run()
        finally:
            self._listener.close()
            self._loop.close()
