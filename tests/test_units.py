"""Quantities as text."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from epollo.units import format_seconds, format_size, parse_count, parse_seconds, parse_size


@pytest.mark.parametrize(
    ("parse", "text", "value"),
    [
        (parse_size, "64", 64),
        (parse_size, "64KiB", 65536),
        (parse_size, "1.5MiB", 1572864),
        (parse_size, "1 gib", 1 << 30),
        (parse_size, 512, 512),
        (parse_count, "100k", 100_000),
        (parse_count, "2m", 2_000_000),
        (parse_seconds, "250ms", 0.25),
        (parse_seconds, "1.5m", 90),
        (parse_seconds, "2h", 7200),
        (parse_seconds, 3, 3),
    ],
)
def test_parse(parse: Callable[[str | int], float], text: str | int, value: float) -> None:
    assert parse(text) == pytest.approx(value)


@pytest.mark.parametrize(
    ("parse", "text"),
    [
        (parse_size, "64KB?"),
        (parse_size, "-1"),
        (parse_size, "0.5"),
        (parse_size, True),
        (parse_size, "9" * 400),
        (parse_count, "ten"),
        (parse_count, ""),
        (parse_seconds, "10 parsecs"),
        (parse_seconds, None),
    ],
)
def test_an_invalid_quantity_is_refused_with_an_example(
    parse: Callable[[object], float], text: object
) -> None:
    with pytest.raises(ValueError, match=r"a (size|count|time) such as"):
        parse(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (1.5e-7, "150 ns"), (0.0000123, "12.3 µs"), (0.9999, "1 s"), (61.2, "61.2 s")],
)
def test_format_seconds(seconds: float, text: str) -> None:
    assert format_seconds(seconds) == text


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (5 << 30, "5 GiB")]
)
def test_format_size(size: float, text: str) -> None:
    assert format_size(size) == text
