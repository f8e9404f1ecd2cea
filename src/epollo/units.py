"""Quantities as text: sizes (64KiB), times (250ms), counts (100k)."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

UNKNOWN = "-"  # instead of a quantity that was not measured, or is beyond the sample

_NUMBER = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*")

_SIZES = {"": 1, "b": 1, "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30}
_SIZES |= {"k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
_SECONDS = {"": 1.0, "ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_COUNTS = {"": 1, "k": 1_000, "m": 1_000_000}


def parse_size(text: str | int) -> int:
    """Bytes in ``text``: ``"64KiB"`` is 65536. Raises ValueError with an example of valid text."""
    return _whole(text, _SIZES, "a size such as 64KiB or 1MiB")


def parse_count(text: str | int) -> int:
    """A count: ``"100k"`` is 100000. Raises ValueError with an example of valid text."""
    return _whole(text, _COUNTS, "a count such as 100 or 10k")


def parse_number(text: str | float) -> float:
    """A number that need not be whole: ``"1.5k"`` is 1500. Raises ValueError."""
    return _parse(text, _COUNTS, "a number such as 0.5, 100 or 10k")


def parse_seconds(text: str | float) -> float:
    """Seconds in ``text``: ``"250ms"`` is 0.25. Raises ValueError with an example of valid text."""
    return _parse(text, _SECONDS, "a time such as 250ms, 10s or 1m")


def format_size(size: float) -> str:
    """``size`` bytes in the largest binary unit in which the number is at least 1."""
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.4g} {unit}"
        size /= 1024
    return f"{size:.4g} GiB"


def format_seconds(seconds: float) -> str:
    """``seconds`` with three significant digits in ns, µs, ms or s."""
    if not seconds:
        return "0 s"
    for unit, scale in (("ns", 1e-9), ("µs", 1e-6), ("ms", 1e-3)):
        if seconds < 999.5 * scale:
            return f"{seconds / scale:.3g} {unit}"
    return f"{seconds:.3g} s" if seconds < 999.5 else f"{seconds:.0f} s"


def _whole(text: str | float, units: Mapping[str, float], wanted: str) -> int:
    value = _parse(text, units, wanted)
    if value != int(value):
        raise ValueError(f"{text!r} is not a whole number; write {wanted}")
    return int(value)


def _parse(text: str | float, units: Mapping[str, float], wanted: str) -> float:
    if isinstance(text, bool) or not isinstance(text, str | int | float):
        raise ValueError(f"{text!r} is not {wanted}")
    match = _NUMBER.fullmatch(str(text))
    if match is None or match[2].lower() not in units:
        raise ValueError(f"{text!r} is not {wanted}")
    number = float(match[1]) * units[match[2].lower()]
    if math.isinf(number):
        raise ValueError(f"{str(text)[:20]}... is too large; write {wanted}")
    return number
