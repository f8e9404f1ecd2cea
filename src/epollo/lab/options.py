"""Parsing of the command line's numbers. Every error gives valid values."""

from __future__ import annotations

from epollo.units import format_size, parse_count, parse_seconds, parse_size

MOST = 1_000_000  # of anything; a larger number is a typing error
LARGEST = (16 << 20) - 64  # bytes of a message; the peers take 16 MiB


def count(text: str) -> int:
    """A whole number of at least 1, such as 100 or 2k. Raises ValueError."""
    number = parse_count(text)
    if not 1 <= number <= MOST:
        raise ValueError(f"{text!r} is not within 1 to {MOST:,}")
    return number


def counts(text: str) -> list[int]:
    """Counts separated by commas; sorted, without repetitions. Raises ValueError."""
    return sorted({count(part) for part in text.split(",")})


def seconds(text: str) -> float:
    """A time above 0, such as 300ms or 10s. Raises ValueError."""
    time = parse_seconds(text)
    if time <= 0:
        raise ValueError(f"{text!r} is not a time over 0")
    return time


def size(text: str) -> int:
    """Bytes of a message, such as 64 or 16KiB. Raises ValueError."""
    number = parse_size(text)
    if number > LARGEST:
        raise ValueError(f"{text!r} is more than {format_size(LARGEST)}")
    return number
