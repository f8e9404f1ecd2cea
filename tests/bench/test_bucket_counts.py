"""The native counts of a histogram, on their way to another process."""

from __future__ import annotations

import pytest

bucket_counts = pytest.importorskip("epollo.bench.run.native.bucket_counts")


@pytest.mark.parametrize(("indexes", "values"), [(2 * 4, 1 * 8), (4, 8 + 1), (4 + 3, 8), (0, 8)])
def test_counts_of_other_lengths_are_refused(indexes: int, values: int) -> None:
    with pytest.raises(ValueError, match="value"):
        bucket_counts.unpickled(bytes(indexes), bytes(values), {})
