"""The access log: a line for each connection, when it has ended.

It is not limited: it is asked for. Its lines are written by a thread, so a slow disk, or a terminal
that nobody reads, does not hold up the loop. If `_MOST_WAITING` wait for that thread, further ones
are counted instead, and the log says how many are lost.
"""

from __future__ import annotations

import json
import logging
import threading
import time
import traceback
from queue import SimpleQueue

from epollo.causes import cause_of
from epollo.engine import EngineConnection
from epollo.errors import SettingError
from epollo.logs.files import LogFile
from epollo.logs.forms import formatter
from epollo.logs.logger import logger
from epollo.reasons import CloseReason
from epollo.server.log_limiter import LogLimiter

OFF, TO_THE_LOG = "off", "log"

_MOST_WAITING = 10_000  # lines
_LAST_SECONDS = 1.0  # for the lines that wait when the server ends

_access = logger("epollo.access")

_TEXT = (
    "connection=%(connection)d peer=%(peer)s reason=%(reason)s messages_in=%(messages_in)d "
    "messages_out=%(messages_out)d bytes_in=%(bytes_in)d bytes_out=%(bytes_out)d "
    "seconds=%(seconds).3f"
)


class AccessLog:
    """Writes to ``where``: the log, as the logger ``epollo.access``, or a file, in the ``form``
    "text" or "json". Lost lines are told to ``log``. Raises SettingError if the form needs a
    library that is missing."""

    def __init__(
        self, where: str, form: str, log: LogLimiter, *, with_process: bool = False
    ) -> None:
        self._path = "" if where == TO_THE_LOG else where
        self._formatter = formatter(form, with_process=with_process) if self._path else None
        self._log = log
        self._file: LogFile | None = None
        self._thread: threading.Thread | None = None
        self._records: SimpleQueue[logging.LogRecord | None] = SimpleQueue()
        self._lost = 0

    def begin(self) -> None:
        """Open the file. The thread begins with the first line: before that, there may be a fork.
        Raises SettingError."""
        if not self._path:
            return
        try:
            self._file = LogFile(self._path)
        except OSError as error:
            raise SettingError(
                f"access_log: cannot open {self._path!r}: {cause_of(error)}"
            ) from None
        self._file.setFormatter(self._formatter)

    def add(self, connection: EngineConnection, reason: CloseReason) -> None:
        """``connection`` has ended. In the loop's thread."""
        if self._file is None and not _access.isEnabledFor(logging.INFO):
            return
        if self._records.qsize() >= _MOST_WAITING:
            self._lost += 1
            return
        self._tell_lost()
        self._put(_record(connection, reason))

    def end(self) -> None:
        """Write the lines that wait, for a second at most, and close the file."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._records.put(None)
            thread.join(_LAST_SECONDS)
            if thread.is_alive():
                self._lost += self._records.qsize()
        self._tell_lost()
        if self._file is not None and (thread is None or not thread.is_alive()):
            self._file.close()
        self._file = None
        self._records = SimpleQueue()

    def _put(self, record: logging.LogRecord) -> None:
        self._records.put(record)
        if self._thread is not None:
            return
        thread = threading.Thread(
            target=_write, args=(self._records, self._file), name="epollo-access-log", daemon=True
        )
        try:
            thread.start()
        except RuntimeError:  # none can be started once the main thread has ended
            _handle(self._records.get(), self._file)
        else:
            self._thread = thread

    def _tell_lost(self) -> None:
        lost, self._lost = self._lost, 0
        if lost:
            self._log.log(
                "access log",
                logging.WARNING,
                "the access log has lost lines, which could not be written in time: %d",
                lost,
                extra={"lost": lost},
            )


def _write(records: SimpleQueue[logging.LogRecord | None], file: LogFile | None) -> None:
    """In a thread of its own, until there is None."""
    while (record := records.get()) is not None:
        try:
            _handle(record, file)
        except BaseException:  # an exit, which would end only this thread, and so the log
            traceback.print_exc()


def _handle(record: logging.LogRecord | None, file: LogFile | None) -> None:
    if record is not None:
        _access.handle(record) if file is None else file.handle(record)


def _record(connection: EngineConnection, reason: CloseReason) -> logging.LogRecord:
    fields = {
        "connection": connection.id,
        "peer": connection.peername,
        "reason": str(reason),
        "messages_in": connection.messages_in,
        "messages_out": connection.messages_out,
        "bytes_in": connection.bytes_in,
        "bytes_out": connection.bytes_out,
        "seconds": round(time.monotonic() - connection.since, 6),
    }
    text = {**fields, "peer": _quoted(connection.peername)}
    return _access.logger.makeRecord(
        _access.name, logging.INFO, __file__, 0, _TEXT, (text,), None, extra=fields
    )


def _quoted(peer: str) -> str:
    """In quotes, if a reader of the line could take it for several fields."""
    return json.dumps(peer) if " " in peer or '"' in peer else peer
