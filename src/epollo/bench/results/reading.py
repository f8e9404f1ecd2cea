"""Reading a document that may be damaged, or made to do harm."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from epollo.errors import ResultFileError, SettingError

NO_RESULT = "not a result of epollo bench --json"
# What reading any other document may raise; RecursionError comes from JSON that nests too deeply.
_DAMAGE = (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError)
_LONGEST_REASON = 200  # characters of what is wrong with a file
_LAST_DATE = 253_402_300_799  # seconds since the epoch, the last of the year 9999
_TYPES = {int, float}
_LIMIT = 1 << 64  # of counts and times; with larger ones the figures might overflow


@contextmanager
def typed_errors() -> Iterator[None]:
    """Whatever reading a document raises becomes a ResultFileError of one line."""
    try:
        yield
    except SettingError as error:  # also of its workload
        raise ResultFileError(shortened(str(error))) from None
    except KeyError as error:
        raise ResultFileError(f"{NO_RESULT}: it has no {shortened(repr(error.args[0]))}") from None
    except _DAMAGE as error:
        reason = shortened(str(error) or type(error).__name__)
        raise ResultFileError(f"{NO_RESULT}: {reason}") from None


def shortened(text: str) -> str:
    """``text`` in one line, and cut if it is long: it may come from a file made to do harm."""
    cut = text if len(text) <= _LONGEST_REASON else f"{text[:_LONGEST_REASON]}..."
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in cut
    )


def number(value: Any) -> float:
    """``value``, if it is a valid count or time. Raises ValueError."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < _LIMIT:
        raise ValueError(f"{value!r} is not a number of 0 or more")
    return value


def check_numbers(values: Sequence[Any]) -> None:
    """Check each as `number` does. Usually all are valid, which is found at once."""
    if not _TYPES.issuperset(map(type, values)) or min(values) < 0 or not sum(values) < _LIMIT:
        for value in values:
            number(value)


def optional(value: Any) -> float | None:
    return None if value is None else number(value)


def text(value: Any) -> str:
    """``value``, if it is text of one line. Raises ValueError."""
    if not isinstance(value, str) or not value.isprintable():
        raise ValueError(f"{value!r} is not text of one line")
    return value


def date(value: Any) -> float:
    """``value``, if a calendar has that many seconds since the epoch. Raises ValueError."""
    if number(value) > _LAST_DATE:
        raise ValueError(f"{value!r} seconds are beyond the year 9999")
    return float(value)
