"""Messages made from a template: text that contains the message's own number, for example."""

from __future__ import annotations

import string

from epollo.bench.load.payload import Unnumbered
from epollo.causes import clause
from epollo.errors import SettingError

FIELDS = ("number", "connection", "time")
_HELP = "write {number}, {connection} or {time}, with a format if needed, and a brace as {{ or }}"


class TemplatePayload(Unnumbered):
    """Makes messages by filling in ``{number}``, ``{connection}`` and ``{time}`` (ns of the
    monotonic clock) in a text. A field may have a format, as in ``{number:08d}``.

    Raises SettingError for an invalid template.
    """

    def __init__(self, template: str) -> None:
        _check(template)
        self._format = template.format

    def message(self, connection: int, number: int, intended: int) -> bytes:
        """The message ``number`` of ``connection``, due at ``intended`` ns."""
        return self._format(number=number, connection=connection, time=intended).encode()


def fields(template: str) -> set[str]:
    """The names of the fields in it."""
    return {field for _, field, _, _ in string.Formatter().parse(template) if field is not None}


def _check(template: str) -> None:
    """Only plain fields are allowed: no attributes, no items, no nested formats."""
    try:
        parts = list(string.Formatter().parse(template))
        for _, field, form, _ in parts:
            if field is not None and field not in FIELDS:
                raise SettingError(f"template: there is no field {{{field}}}; {_HELP}")
            if "{" in (form or ""):
                raise SettingError(f"template: {form!r} is not a valid format; {_HELP}")
        template.format(number=0, connection=0, time=0).encode()
    except (ValueError, OverflowError, MemoryError) as error:
        if isinstance(error, SettingError):
            raise
        raise SettingError(
            f"template: {clause(str(error)) or 'the text is too long'}; {_HELP}"
        ) from None
