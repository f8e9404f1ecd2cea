"""Counts read from a file are used as a dictionary of them would be."""

from __future__ import annotations

import pickle
from array import array

import pytest

from epollo.bench.results.histogram import Histogram
from epollo.bench.results.packed_counts import PackedCounts


@pytest.fixture
def packed() -> PackedCounts:
    return PackedCounts(array("I", [2, 5, 9]), array("Q", [10, 20, 30]))


def test_it_has_the_counts_and_0_for_any_other_index(packed: PackedCounts) -> None:
    assert [packed[index] for index in (0, 2, 5, 7, 9, 99)] == [0, 10, 20, 0, 30, 0]
    assert list(packed) == [2, 5, 9]
    assert dict(packed.items()) == {2: 10, 5: 20, 9: 30}
    assert len(packed) == 3


def test_counts_may_be_set_later(packed: PackedCounts) -> None:
    packed[5] += 1
    packed[7] = 4
    assert (packed[5], packed[7]) == (21, 4)
    assert dict(packed.items()) == {2: 10, 5: 21, 7: 4, 9: 30}
    assert len(packed) == len(list(packed)) == 4


def test_it_is_the_same_in_another_process(packed: PackedCounts) -> None:
    packed[7] = 4
    copy = pickle.loads(pickle.dumps(packed))  # noqa: S301 (our own)
    assert dict(copy.items()) == dict(packed.items())


def test_a_histogram_that_was_read_goes_on_recording() -> None:
    """Its sums are made of its buckets once, whatever is asked first."""
    read, expected = Histogram(), Histogram()
    for histogram in (read, expected):
        for value in (1, 5, 5, 2000):  # exact in their buckets
            histogram.record(value)
    read = Histogram.decode(read.encode())
    for histogram in (read, expected):
        histogram.record(5)
        histogram.record(700)
    assert list(read.buckets()) == list(expected.buckets())
    for _ in range(2):
        assert (read.mean, read.deviation) == (expected.mean, expected.deviation)
    both = Histogram.sum([Histogram.decode(read.encode()), read])
    assert (both.total, both.mean) == (2 * expected.total, expected.mean)
