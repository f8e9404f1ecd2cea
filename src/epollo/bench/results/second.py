"""One second of a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Self

from epollo.bench.results.histogram import Histogram
from epollo.bench.results.reading import number, typed_errors

SECOND_HISTOGRAMS = ("response", "service", "slip")


@dataclass(frozen=True, slots=True)
class Second:
    """One second of the window. The last one is from 0.5 to 1.5 seconds long, because it includes
    the remainder of the window; if it is the only one, it may be shorter.

    Histograms hold the messages that were due in it, whenever they were answered; ``messages``
    counts those that were answered in it.

    Attributes:
        start: seconds from the beginning of the window.
        seconds: its length.
        target: the scheduled messages a second, on average; None in a closed loop.
        sent: messages sent in it.
        messages: messages answered correctly in it, including those due in the warm-up.
        errors: errors counted in it.
        outstanding: messages sent and not yet answered at its end.
        response, service, slip: as in Result.
    """

    start: float
    seconds: float
    target: float | None
    sent: int
    messages: int
    errors: int
    outstanding: int
    response: Histogram
    service: Histogram
    slip: Histogram

    @property
    def rate(self) -> float:
        """Messages answered a second."""
        return self.messages / self.seconds if self.seconds else 0.0

    def having(self, response: Histogram, service: Histogram, slip: Histogram) -> Self:
        """The same second with these histograms."""
        return replace(self, response=response, service=service, slip=slip)

    def merged(self, other: Second) -> Second:
        """The same second of two runs that went on at the same time, as one."""
        return replace(
            self._and(other),
            seconds=max(self.seconds, other.seconds),
            target=None if self.target is None else self.target + (other.target or 0.0),
            outstanding=self.outstanding + other.outstanding,
        )

    def followed_by(self, other: Second) -> Second:
        """This second and the next one, as one."""
        seconds, target = self.seconds + other.seconds, None
        if self.target is not None:
            due = self.target * self.seconds + (other.target or 0.0) * other.seconds
            target = due / seconds
        return replace(
            self._and(other), seconds=seconds, target=target, outstanding=other.outstanding
        )

    def _and(self, other: Second) -> Second:
        """The sums of the counts and histograms of both."""
        counts = ("sent", "messages", "errors")
        return replace(
            self,
            **{name: getattr(self, name) + getattr(other, name) for name in counts},
            **{
                name: getattr(self, name).merged(getattr(other, name)) for name in SECOND_HISTOGRAMS
            },
        )

    def to_document(self) -> dict[str, Any]:
        """This second as JSON values; histograms as HdrHistogram encodes them."""
        return {f.name: _plain(getattr(self, f.name)) for f in fields(self)}

    @classmethod
    def of_document(cls, document: dict[str, Any]) -> Self:
        """The reverse of ``to_document``. Raises ResultFileError."""
        with typed_errors():
            return cls._of_document(document)

    @classmethod
    def _of_document(cls, document: dict[str, Any]) -> Self:
        # In a closed loop two histograms are one and the same: read once, it takes half the time.
        texts = {name: document[name] for name in SECOND_HISTOGRAMS}
        histograms = {text: Histogram.decode(text) for text in set(texts.values())}
        values: dict[str, Any] = {name: histograms[text] for name, text in texts.items()}
        for name in (f.name for f in fields(cls) if f.name not in values):
            unknown = name == "target" and document[name] is None
            values[name] = None if unknown else number(document[name])
        return cls(**values)

    @property
    def buckets(self) -> int:
        """The number of buckets that its histograms use."""
        return sum(getattr(self, name).used for name in SECOND_HISTOGRAMS)


def merge_seconds(seconds: Sequence[Second]) -> Second:
    """The one second of several runs that went on at the same time."""
    whole = seconds[0]
    for second in seconds[1:]:
        whole = whole.merged(second)
    return whole


def _plain(value: Any) -> Any:
    return value.encode() if isinstance(value, Histogram) else value
