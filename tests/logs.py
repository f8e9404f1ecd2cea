"""What epollo logs while a test runs."""

from __future__ import annotations

import logging

SLOW = "held the loop"  # of the line about a slow handler: a busy machine makes any handler slow


class Log(logging.Handler):
    """Keeps what epollo logs from ``level`` on; a test takes what it expects."""

    def __init__(self, level: int = logging.WARNING) -> None:
        super().__init__(level)
        self.records: list[logging.LogRecord] = []
        self.slow: list[str] = []
        self.stacks: list[str] = []  # of some of those
        self.tracebacks = 0

    def emit(self, record: logging.LogRecord) -> None:
        if SLOW in record.msg:
            self.slow.append(record.getMessage())
            self.stacks += [record.stack_info] if record.stack_info else []
        else:
            self.records.append(record)
            self.tracebacks += record.exc_info is not None

    def take(self) -> list[str]:
        """The lines logged until now, which were expected."""
        return [line for _, line in self.take_with_levels()]

    def take_with_levels(self) -> list[tuple[int, str]]:
        """The same, each with its level."""
        lines = [(record.levelno, record.getMessage()) for record in self.records]
        self.records.clear()
        return lines
