"""A server in a thread of its own."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable

from epollo.logs.logger import logger
from epollo.server.stopping import Stop

_log = logger("epollo.server")

_MARGIN = 0.4  # seconds after the deadline of a stop, for the work that the deadline triggers
_PERIOD = 0.1  # seconds between checks of the deadline, which may move


class ServerThread:
    """Runs ``run`` in a thread; `start` returns when that thread has called `ready`."""

    def __init__(self, run: Callable[[], None]) -> None:
        self._run = run
        self._ready_or_failed = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run_thread, name="epollo-server", daemon=True)

    def start(self) -> None:
        """Start the thread. Raises the error that ``run`` raises before `ready`."""
        self._thread.start()
        self._ready_or_failed.wait()
        if self._failure is not None:
            self._thread.join()
            raise self._failure

    def ready(self) -> None:
        """Called by ``run`` when it serves."""
        self._ready_or_failed.set()

    def join(self, stop: Stop) -> None:
        """Wait for the thread to end, at most until the deadline of ``stop``: a function that
        blocks a thread other than the main one cannot be interrupted."""
        while self._thread.is_alive() and stop.seconds_left != 0:
            self._thread.join(_PERIOD)
        self._thread.join(_MARGIN)
        if self._thread.is_alive():
            frame = sys._current_frames().get(self._thread.ident or 0)
            where = "" if frame is None else f" in {frame.f_code.co_filename}:{frame.f_lineno}"
            stop.leave_behind([f"the server's thread{where}"])

    def raise_failure(self, other: BaseException | None) -> None:
        """Raise the error that ended the thread, if one did. If an ``other`` error is on its way,
        log it: neither must hide the other."""
        failure, self._failure = self._failure, None
        try:
            if failure is not None and other is None:
                raise failure
            if failure is not None:
                _log.error("an error had ended the server", exc_info=failure)
        finally:
            del failure, other  # their tracebacks hold this frame

    def _run_thread(self) -> None:
        try:
            self._run()
        except BaseException as error:
            self._failure = error
        finally:
            self._ready_or_failed.set()
