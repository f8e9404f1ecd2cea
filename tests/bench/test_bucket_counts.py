"""The native counts of a histogram, on their way to another process."""

from __future__ import annotations

import pytest

bucket_counts = pytest.importorskip("epollo.bench.run.native.bucket_counts")


def test_counts_with_a_value_missing_are_refused() -> None:
    indexes, values = bytes(2 * 4), bytes(1 * 8)
    with pytest.raises(ValueError, match="value"):
        bucket_counts.unpickled(indexes, values, {})
