"""What epollo logs while a fuzzer runs."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager


class _Lines(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        # Not the text, in which the peer's address is another one each time.
        self.lines.append(f"{record.msg}: {record.exc_info and record.exc_info[1]!r}")


@contextmanager
def logged(*names: str) -> Iterator[list[str]]:
    """The lines from WARNING on that are logged under ``names``. They go nowhere else."""
    handler = _Lines()
    loggers = [logging.getLogger(name) for name in names]
    before = [logger.propagate for logger in loggers]
    for logger in loggers:
        logger.addHandler(handler)
        logger.propagate = False
    try:
        yield handler.lines
    finally:
        for logger, propagate in zip(loggers, before, strict=True):
            logger.removeHandler(handler)
            logger.propagate = propagate
