"""A run in pieces of one or more seconds, between which its figures vary."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from epollo.bench.results.histogram import Histogram
from epollo.bench.results.result import Result
from epollo.bench.results.series import MINUTE, Series, column

SHORTEST = 10  # seconds that a run needs to be compared
_HALF = 0.5  # seconds; a shorter last second does not count
_PIECES = 120  # the most pieces of a run; those of a longer run have several seconds
_MOST, _SAMPLED = 7200, 720  # seconds: of a run with more than the first, the second are read
_MINUTES = 360  # of a run with more, that many are read


class Responses:
    """The response times of a piece: their number, their sum, and how many are above a few known
    values. Their histograms would take much more memory, and to add these up takes long."""

    __slots__ = ("_above", "sum", "total")

    def __init__(self, histograms: Iterable[Histogram], values: Iterable[int]) -> None:
        """``values`` are those that `above` takes."""
        self.total: int = 0
        self.sum: int = 0
        self._above = dict.fromkeys(values, 0)
        for histogram in histograms:
            self.total += histogram.total
            self.sum += histogram.sum_of_values
            for value, count in histogram.counts_above(self._above).items():
                self._above[value] += count

    def above(self, value: int) -> float:
        """The part of the response times above ``value``."""
        return self._above[value] / self.total if self.total else 0.0


@dataclass(frozen=True, slots=True)
class Pieces:
    """One run, and its window in pieces.

    Attributes:
        result: the run.
        too_short: it has too few seconds to know their variance.
        seconds, sent, messages, errors: of each piece, the sums of its seconds.
        responses: of each piece; of long runs only those of a sample of seconds or minutes.
    """

    result: Result
    too_short: bool
    seconds: list[float]
    sent: list[float]
    messages: list[float]
    errors: list[float]
    responses: list[Responses]

    @classmethod
    def of(cls, result: Result, values: Sequence[int]) -> Pieces:
        """``result`` in pieces. ``values`` are those of which it is counted how many response times
        are above them."""
        size = _size(result)
        seconds, sent, messages, errors = (
            _sums(column(result.seconds, name), size)
            for name in ("seconds", "sent", "messages", "errors")
        )
        responses = [Responses(piece, values) for piece in _histograms(result, size)]
        too_short = whole_seconds(result) < SHORTEST
        return cls(result, too_short, seconds, sent, messages, errors, responses)


def whole_seconds(result: Result) -> int:
    """The number of its seconds, without the remainder of the window."""
    return sum(length >= _HALF for length in column(result.seconds, "seconds"))


def sampled(result: Result) -> tuple[int, str]:
    """One in how many seconds or minutes is read for the intervals, and which of the two: to read
    each second of a day takes long. 1: all are."""
    minutes = len(_minutes(result))
    if minutes:
        return max(1, math.ceil(minutes / _MINUTES)), "minutes"
    count = len(result.seconds)
    return 1 if count <= _MOST else math.ceil(count / _SAMPLED), "seconds"


def _size(result: Result) -> int:
    """The seconds of a piece; whole minutes if these are known."""
    size = max(1, math.ceil(len(result.seconds) / _PIECES))
    return math.ceil(size / MINUTE) * MINUTE if _minutes(result) else size


def _histograms(result: Result, size: int) -> Iterator[Iterator[Histogram]]:
    """The response times of each piece, in one or more histograms."""
    minutes, (step, _) = list(_minutes(result)), sampled(result)
    if minutes:
        while minutes:
            yield iter(minutes[: size // MINUTE : step])
            del minutes[: size // MINUTE]  # a histogram that was read takes memory
        return
    count = len(result.seconds)
    for start in range(0, count, size):
        places = range(start, min(start + size, count), step)
        yield (result.seconds[place].response for place in places)


def _minutes(result: Result) -> Sequence[Histogram]:
    """The response times of each minute of a long run, if its file has them."""
    if not isinstance(result.seconds, Series) or len(result.seconds) <= (MINUTE - 1) * _PIECES:
        return []
    return result.seconds.minutes


def _sums(values: Sequence[float], size: int) -> list[float]:
    """The sums of ``size`` values in a row."""
    return [sum(values[start : start + size]) for start in range(0, len(values), size)]
