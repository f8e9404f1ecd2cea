"""The native counts of a histogram, on their way to another process."""

from __future__ import annotations

import pytest

counts = pytest.importorskip("epollo.bench.run.native.counts")


def test_counts_with_a_value_missing_are_refused() -> None:
    indexes, values = bytes(2 * 4), bytes(1 * 8)
    with pytest.raises(ValueError, match="value"):
        counts.again(indexes, values, {})
