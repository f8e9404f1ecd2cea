"""What is written on the command line, made into numbers. Every error says what would do."""

from __future__ import annotations

from epollo.units import format_size, parse_count, parse_seconds, parse_size

MOST = 1_000_000  # of anything: more is a slip of the finger
LARGEST = (16 << 20) - 64  # bytes of a message; 16 MiB is what the peers take


def count(text: str) -> int:
    """A whole number from 1 on, such as 100 or 2k. Raises ValueError."""
    number = parse_count(text)
    if not 1 <= number <= MOST:
        raise ValueError(f"{text!r} is not within 1 to {MOST:,}")
    return number


def counts(text: str) -> list[int]:
    """Counts separated by commas; in order, each once. Raises ValueError."""
    return sorted({count(part) for part in text.split(",")})


def seconds(text: str) -> float:
    """A time above 0, such as 300ms or 10s. Raises ValueError."""
    time = parse_seconds(text)
    if time <= 0:
        raise ValueError(f"{text!r} is no time; give more than 0")
    return time


def size(text: str) -> int:
    """Bytes of a message, such as 64 or 16KiB. Raises ValueError."""
    number = parse_size(text)
    if number > LARGEST:
        raise ValueError(f"{text!r} is more than {format_size(LARGEST)}")
    return number
