"""Tables that fit into a terminal, and quantities as people read them."""

from __future__ import annotations

import pytest

from epollo.cli.tables import Column, age, lines, plain, reasons, size

COLUMNS = (
    Column("NAME", numeric=False, shrinks=True),
    Column("SIZE"),
    Column("EXTRA", rank=1),
    Column("MORE", rank=2),
)
ROWS = [["a", "1 B", "x", "y"], ["a-long-name-of-a-thing", "12 KiB", "x", "y"]]


def test_columns_are_aligned() -> None:
    assert lines(COLUMNS, ROWS) == [
        "NAME                      SIZE  EXTRA  MORE",
        "a                          1 B      x     y",
        "a-long-name-of-a-thing  12 KiB      x     y",
    ]


def test_what_has_no_room_is_left_out_the_least_important_first() -> None:
    assert lines(COLUMNS, ROWS, 40)[0] == "NAME                      SIZE  EXTRA"
    assert lines(COLUMNS, ROWS, 30)[0] == "NAME                      SIZE"
    assert lines(COLUMNS, ROWS, 20)[2] == "a-long-name…  12 KiB"
    assert lines(COLUMNS, [], 20) == ["NAME  SIZE"[:4] + "  SIZE  EXTRA"]


def test_control_characters_are_not_printed() -> None:
    assert plain("a\x1b[31mb\r\n") == "a?[31mb??"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (150 << 10, "150 KiB"),
        (3 << 20, "3.0 MiB"),
        (1023 << 10, "1.0 MiB"),
        (5 << 30, "5.0 GiB"),
        (5 << 40, "5.0 TiB"),
        (None, "-"),
    ],
)
def test_sizes(value: int | None, text: str) -> None:
    assert size(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.04, "0.0s"),
        (9.94, "9.9s"),
        (9.96, "10s"),
        (59.6, "1m00s"),
        (192, "3m12s"),
        (3600, "1h00m"),
        (7500, "2h05m"),
        (356400, "4d03h"),
        (None, "-"),
        (-1e-9, "0.0s"),
    ],
)
def test_ages(seconds: float | None, text: str) -> None:
    assert age(seconds) == text


def test_reasons_are_told_the_most_frequent_first() -> None:
    assert reasons({"eof": 2, "reset": 0, "local": 1000}) == "local 1,000, eof 2"
