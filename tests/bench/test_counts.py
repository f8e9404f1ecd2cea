"""The native counts of a histogram, on their way to another process."""

from __future__ import annotations

import pytest

counts = pytest.importorskip("epollo.bench.native.counts")


@pytest.mark.xfail(
    strict=True,
    raises=pytest.fail.Exception,
    reason="that there is a value for each index is trusted, and memory read that was never set",
)
def test_counts_with_a_value_missing_are_refused() -> None:
    indexes, values = bytes(2 * 4), bytes(1 * 8)
    with pytest.raises(ValueError, match="value"):
        counts.again(indexes, values, {})
