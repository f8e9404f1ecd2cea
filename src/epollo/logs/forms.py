"""The form of log lines: text to read, or a JSON object for each.

What a line is about is in its fields, which are attributes of the record (``extra`` of logging):
both forms show the number of the connection, and JSON shows every field.
"""

from __future__ import annotations

import logging

from epollo.errors import SettingError

FORMS = ("text", "json")

_TEXT = "%(asctime)s %(levelname)s %(message)s"
_TEXT_OF_PROCESSES = "%(asctime)s [%(process)d] %(levelname)s %(message)s"
_JSON = "%(levelname)s %(name)s %(message)s %(process)d"


class TextFormatter(logging.Formatter):
    """Appends the number of the connection to a line that is about one: ``connection=17``."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 (of logging)
        text = super().formatMessage(record)
        number = getattr(record, "connection", None)
        if number is None or "connection=" in record.message:
            return text
        return f"{text} connection={number}"


def formatter(form: str, *, with_process: bool = False) -> logging.Formatter:
    """The formatter of ``form``: "text" or "json". JSON has the process in any case. Raises
    SettingError without python-json-logger."""
    if form == "text":
        return TextFormatter(_TEXT_OF_PROCESSES if with_process else _TEXT)
    try:
        from pythonjsonlogger.json import JsonFormatter
    except ModuleNotFoundError:
        raise SettingError(
            "log_format: json needs python-json-logger; pip install 'epollo[json-logs]'"
        ) from None
    names = {"levelname": "level", "name": "logger"}
    return JsonFormatter(_JSON, rename_fields=names, timestamp="time")
