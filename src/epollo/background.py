"""A server in a thread of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable


class Background:
    """Runs ``run`` in a thread. Who starts it waits until `ready` was called there."""

    def __init__(self, run: Callable[[], None]) -> None:
        self._run = run
        self._decided = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._live, name="epollo-server")

    def start(self) -> None:
        """Raises what ``run`` raises before it is ready."""
        self._thread.start()
        self._decided.wait()
        if self._failure is not None:
            self._thread.join()
            raise self._failure

    def ready(self) -> None:
        """It serves from now on."""
        self._decided.set()

    def join(self) -> None:
        """Wait for its end."""
        self._thread.join()

    def _live(self) -> None:
        try:
            self._run()
        except BaseException as error:
            if self._decided.is_set():
                raise
            self._failure = error
        finally:
            self._decided.set()
