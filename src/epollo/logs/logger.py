"""Loggers for lines between two steps that both must be taken.

What logs is the user's: filters and handlers of their own may raise, though logging catches most of
it. A line that raised would take with it what comes next, such as the call of ``disconnected``.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any


class _Logger(logging.LoggerAdapter[logging.Logger]):
    """Prints what a line raises to stderr, as logging does with errors of its handlers.
    KeyboardInterrupt and SystemExit are not the line's, and pass."""

    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:
        with _printed_errors():
            self.logger.log(level, msg, *args, stacklevel=2, **kwargs)

    def handle(self, record: logging.LogRecord) -> None:
        """As `logging.Logger.handle`."""
        with _printed_errors():
            self.logger.handle(record)

    def process(
        self, msg: Any, kwargs: MutableMapping[str, Any]
    ) -> tuple[Any, MutableMapping[str, Any]]:
        return msg, kwargs


@contextmanager
def _printed_errors() -> Iterator[None]:
    try:
        yield
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException:
        if logging.raiseExceptions:
            traceback.print_exc()


def logger(name: str) -> _Logger:
    """As logging.getLogger, but no line raises an error of the user's."""
    return _Logger(logging.getLogger(name), {})
