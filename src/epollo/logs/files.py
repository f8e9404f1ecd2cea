"""Log files that may be moved away while they are written (logrotate(8)).

Each line is one write(2) to a file open for appending, so several processes may share it.
"""

from __future__ import annotations

import logging
import os
import sys
import time
import weakref
from pathlib import Path

from epollo.causes import cause_of
from epollo.logs.logger import logger

_PERIOD = 1.0  # seconds between two lines about a file that cannot be written
_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOCTTY

_log = logger("epollo.server")


class LogFile(logging.Handler):
    """Appends to the file ``path``. Raises OSError if it cannot be opened.

    Lines that cannot be written, as on a full disk, are counted, and stderr has one line a second
    about them.
    """

    def __init__(self, path: str) -> None:
        self.path: str = str(Path(path).absolute())
        self._fd = os.open(self.path, _FLAGS, 0o666)
        super().__init__()
        self._lost = 0
        self._told = float("-inf")  # time.monotonic() of the last line about it
        _OPEN.add(self)

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._write(f"{self.format(record)}\n".encode(errors="backslashreplace"))
        except OSError as error:
            self._lost += 1
            self._tell_lost(error)
        except Exception:  # of the arguments of the line: logging prints it
            self.handleError(record)

    def reopen(self) -> None:
        """Write to the file that has the name now; make it if there is none. Raises OSError, and
        goes on with the present one then."""
        new = os.open(self.path, _FLAGS, 0o666)
        try:
            os.dup2(new, self._fd, inheritable=False)  # at once, also for a thread that is writing
        finally:
            os.close(new)

    def close(self) -> None:
        """Nothing more is written."""
        _OPEN.discard(self)
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)
        super().close()

    def _write(self, line: bytes) -> None:
        while line:
            line = line[os.write(self._fd, line) :]

    def _tell_lost(self, error: OSError) -> None:
        now = time.monotonic()
        if now - self._told < _PERIOD:
            return
        self._told = now
        lost, self._lost = self._lost, 0
        lines = "a line is" if lost == 1 else f"{lost} lines are"
        text = f"epollo: cannot write to {self.path}: {cause_of(error)}; {lines} lost"
        try:
            print(text, file=sys.stderr, flush=True)
        except (OSError, ValueError, AttributeError):  # closed, or None
            pass


_OPEN: weakref.WeakSet[LogFile] = weakref.WeakSet()


def reopen_log_files() -> None:
    """Open every log file of this process anew. One that cannot be opened is logged, and the
    present one goes on."""
    for file in list(_OPEN):
        try:
            file.reopen()
        except OSError as error:
            _log.error(
                "cannot open the log file %s anew: %s; its lines still go to the present one",
                file.path,
                cause_of(error),
                extra={"path": file.path},
            )
