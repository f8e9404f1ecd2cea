"""The result of one run, and its JSON form."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Self

from epollo.bench.results.histogram import Histogram
from epollo.bench.workload import Workload
from epollo.errors import ResultFileError, SettingError

VERSION = 3
_READABLE = (2, 3)  # in version 2, what was not measured was 0
PERCENTILES = (50.0, 75.0, 90.0, 95.0, 99.0, 99.9, 99.99, 100.0)
SECOND_HISTOGRAMS = ("response", "service", "slip")
HISTOGRAMS = (*SECOND_HISTOGRAMS, "connect", "first_reply")
_COUNTS = ("sent", "bytes_sent", "bytes_received")
_MOMENTS = ("mean", "deviation", "minimum", "maximum")
_PLAIN = ("elapsed", *_COUNTS)
# What reading any other document may raise; RecursionError comes from JSON that nests too deeply.
_DAMAGE = (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError)
_LONGEST_REASON = 200  # characters of what is wrong with a file
# Buckets that the histograms of a file may use. Real ones take half a character of the file each or
# more, but a few characters made for the purpose may stand for thousands.
_BUCKETS, _BUCKETS_PER_CHARACTER = 1 << 22, 16
_LAST_DATE = 253_402_300_799  # seconds since the epoch, the last of the year 9999
_NO_RESULT = "not a result of epollo bench --json"
_LIMIT = 1 << 64  # of counts and times; with larger ones the figures might overflow
_QUEUE = 10  # messages; for a shorter queue, Little's law is more exact than samples
LATE = 1_000_000  # ns; a message sent this long after its due time is late
IN_WARMUP = "in_warmup"  # an error: messages of the warm-up answered wrongly, or not at all
UNSENT = "unsent"  # an error: messages due but never sent
LATE_ALLOWED = 0.001  # of all messages; with more late ones, the tester did not keep its schedule


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
        with _typed_errors():
            return cls._of_document(document)

    @classmethod
    def _of_document(cls, document: dict[str, Any]) -> Self:
        # In a closed loop two histograms are one and the same: read once, it takes half the time.
        texts = {name: document[name] for name in SECOND_HISTOGRAMS}
        histograms = {text: Histogram.decode(text) for text in set(texts.values())}
        values: dict[str, Any] = {name: histograms[text] for name, text in texts.items()}
        for name in (f.name for f in fields(cls) if f.name not in values):
            unknown = name == "target" and document[name] is None
            values[name] = None if unknown else _number(document[name])
        return cls(**values)

    @property
    def buckets(self) -> int:
        """The number of buckets that its histograms use."""
        return sum(getattr(self, name).used for name in SECOND_HISTOGRAMS)


@dataclass(frozen=True, slots=True)
class Result:
    """One run. Histograms hold nanoseconds; ``elapsed`` is in seconds, warm-up not counted.

    Every message that was due in the window is in each of ``response``, ``service`` and ``slip``
    once, even if it was answered wrongly. A message without a reply is recorded (censored) with the
    time its reply was waited for, and with ``timeout`` at least, because a message lost with its
    connection was not quick. A message that was never sent is recorded in the same way, except in
    ``slip``; it is counted as ``unsent`` in ``errors``, and not in ``sent``.

    Attributes:
        workload: what was run.
        started: when the window began, in seconds since the epoch; only to be shown.
        elapsed: the length of the window; longer than scheduled if the tester was late at its end.
        sent: messages sent that were due in it.
        bytes_sent, bytes_received: of these messages and their correct replies, without headers.
        response: from the due time of a message to its reply.
        service: from its send to its reply; the same in a closed loop.
        slip: from its due time to its send: the tester's own lateness. Empty in a closed loop,
            since a message is due when it is sent.
        answered: correct replies of each connection, in the order in which they were opened.
        connect: from the start of a connect to its end.
        first_reply: from the start of a connect to the first reply.
        seconds: the window, second by second.
        errors: how often each kind of error occurred.
        interrupted: the user ended it early.
        lost: connections that were open and ended before the run did: broken, or timed out.
        cpu: CPU seconds of the tester in the window, of all its processes together.
        outstanding: messages outstanding, on average over the window: the integral of their number
            divided by its length. None for a result of version 2.
        waited: seconds in which it was ready to run and had no processor, likewise; None if that is
            not known.
    """

    workload: Workload
    started: float
    elapsed: float
    sent: int
    bytes_sent: int
    bytes_received: int
    response: Histogram
    service: Histogram
    slip: Histogram
    answered: list[int]
    connect: Histogram
    first_reply: Histogram
    seconds: Sequence[Second]
    errors: dict[str, int]
    interrupted: bool = False
    lost: int = 0
    cpu: float = 0.0
    waited: float | None = None
    outstanding: float | None = None

    @property
    def messages(self) -> int:
        """Messages that were answered correctly."""
        return sum(self.answered)

    @property
    def rate(self) -> float:
        """Messages answered a second while the window was open. Replies after the window, which a
        backlog delayed, are in ``messages``, but not here."""
        answered = sum(second.messages for second in self.seconds)
        return answered / self.elapsed if self.elapsed else 0.0

    @property
    def byte_rates(self) -> tuple[float, float]:
        """Bytes sent and bytes received a second; the latter in the window only, as in `rate`."""
        if not self.elapsed:
            return 0.0, 0.0
        size = self.bytes_received / self.messages if self.messages else 0.0
        return self.bytes_sent / self.elapsed, self.rate * size

    @property
    def target(self) -> float | None:
        """The scheduled messages a second, on average; None in a closed loop."""
        if not self.workload.open_loop or not self.elapsed:
            return None
        wanted = sum((second.target or 0.0) * second.seconds for second in self.seconds)
        return wanted / sum(second.seconds for second in self.seconds) if self.seconds else None

    @property
    def unanswered(self) -> int:
        """Messages without a reply within the timeout."""
        return self.errors.get("unanswered", 0)

    @property
    def late(self) -> float:
        """The part of the messages that were sent more than a millisecond late."""
        return self.slip.above(LATE)

    @property
    def on_time(self) -> bool:
        """Did the tester keep its schedule?"""
        return self.late <= LATE_ALLOWED

    @property
    def busy(self) -> float:
        """The part of the window in which the tester used its CPU. Near 1, the tester may be the
        bottleneck."""
        return self._part(self.cpu)

    @property
    def waiting(self) -> float | None:
        """The part of the window in which the tester was ready to run and had no processor."""
        return None if self.waited is None else self._part(self.waited)

    def _part(self, seconds: float) -> float:
        return seconds / self.elapsed / self.workload.processes if self.elapsed else 0.0

    @property
    def concurrency(self) -> float:
        """``outstanding``; if that is not known, by Little's law: the sum of the service times
        divided by the window. If an open loop ends with a long queue, much of that time is after
        the window; then it is the average over the ends of the seconds."""
        if self.outstanding is not None:
            return self.outstanding
        if not self.elapsed:
            return 0.0
        average = self.service.mean * self.service.total / 1e9 / self.elapsed
        last = self.seconds[-1].outstanding if self.workload.open_loop and self.seconds else 0
        return average if last <= max(_QUEUE, average / 2) else self._sampled_queue()

    def _sampled_queue(self) -> float:
        first = self.seconds[0]
        before = max(0, first.outstanding - first.sent + first.messages)
        whole = 0.0
        for second in self.seconds:
            whole += (before + second.outstanding) / 2 * second.seconds
            before = second.outstanding
        return whole / self.elapsed

    @property
    def failed(self) -> bool:
        """Was there any error, or no measured message?"""
        return bool(self.errors) or not self.messages

    def to_json(self) -> str:
        """Everything as one JSON document, with times in seconds; `schema.json` describes it."""
        return json.dumps(self.to_document(), indent=2)

    def to_document(self) -> dict[str, Any]:
        """The JSON document as a dictionary."""
        return {
            "version": VERSION,
            "workload": asdict(self.workload),
            "started": self.started,
            "elapsed": self.elapsed,
            "interrupted": self.interrupted,
            "sent": self.sent,
            "messages": self.messages,
            "rate": self.rate if self.elapsed else None,
            "target": self.target,
            "bytes_sent": self.bytes_sent,
            "bytes_received": self.bytes_received,
            "concurrency": self.concurrency if self.elapsed else None,
            "late": self.late if self.slip.total else None,
            "cpu": self.cpu,
            "cpu_wait": self.waited,
            "response": summary(self.response),
            "service": summary(self.service),
            "slip": summary(self.slip),
            "connect": summary(self.connect),
            "first_reply": summary(self.first_reply),
            "connections": {
                "opened": self.connect.total,
                "lost": self.lost,
                "answered": self.answered,
            },
            "seconds": [second.to_document() for second in self.seconds],
            "errors": self.errors,
        }

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The reverse of ``to_json``. Raises ResultFileError."""
        with _typed_errors():
            document = json.loads(text)
            if not isinstance(document, dict):
                raise ResultFileError(f"{_NO_RESULT}: not a JSON object")
            if "search" in document:
                raise ResultFileError(
                    "of --find-rate, which has many runs; use one of the results in its probes"
                )
            version = document["version"]
            if version not in _READABLE:
                found = _shortened(repr(version))
                known = " and ".join(map(str, _READABLE))
                raise ResultFileError(
                    f"version {found} of a result; this epollo reads versions {known}"
                )
            return cls._of_document(document, _BUCKETS + _BUCKETS_PER_CHARACTER * len(text))

    @classmethod
    def of_document(cls, document: dict[str, Any]) -> Self:
        """The reverse of ``to_document``. Raises ResultFileError."""
        with _typed_errors():
            return cls._of_document(document, math.inf)

    @classmethod
    def _of_document(cls, document: dict[str, Any], most_buckets: float) -> Self:
        load = document["workload"]
        histograms = {name: histogram_of(document[name]) for name in HISTOGRAMS}
        plain = {name: _number(document[name]) for name in _PLAIN}
        errors = {_text(name): int(_number(count)) for name, count in document["errors"].items()}
        known: dict[str, Any] = {**plain, **histograms, "errors": errors}
        return cls(
            started=_date(document["started"]),
            workload=Workload(**load | {"source": tuple(map(_text, load["source"]))}),
            answered=[int(_number(count)) for count in document["connections"]["answered"]],
            seconds=list(_seconds_of(document["seconds"], most_buckets)),
            interrupted=bool(document["interrupted"]),
            lost=int(_number(document["connections"].get("lost", 0))),
            cpu=_number(document.get("cpu", 0.0)),
            waited=_optional(document.get("cpu_wait")),
            outstanding=_optional(document["concurrency"]) if document["version"] > 2 else None,
            **known,
        )


@contextmanager
def _typed_errors() -> Iterator[None]:
    """Whatever reading a document raises becomes a ResultFileError of one line."""
    try:
        yield
    except SettingError as error:  # also of its workload
        raise ResultFileError(_shortened(str(error))) from None
    except KeyError as error:
        raise ResultFileError(
            f"{_NO_RESULT}: it has no {_shortened(repr(error.args[0]))}"
        ) from None
    except _DAMAGE as error:
        reason = _shortened(str(error) or type(error).__name__)
        raise ResultFileError(f"{_NO_RESULT}: {reason}") from None


def _seconds_of(documents: Iterable[dict[str, Any]], most_buckets: float) -> Iterator[Second]:
    """The seconds of a result, unless their histograms use more buckets than that."""
    for document in documents:
        second = Second.of_document(document)
        most_buckets -= second.buckets
        if most_buckets < 0:
            raise ValueError("its histograms are too large for a file of its size")
        yield second


def _shortened(text: str) -> str:
    """``text`` in one line, and cut if it is long: it may come from a file made to do harm."""
    cut = text if len(text) <= _LONGEST_REASON else f"{text[:_LONGEST_REASON]}..."
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in cut
    )


def merge(results: Sequence[Result]) -> Result:
    """The one result of several runs that went on at the same time, as with `--processes`."""
    first = results[0]
    longest = max(results, key=lambda result: len(result.seconds)).seconds
    seconds = [
        merge_seconds([r.seconds[n] for r in results if n < len(r.seconds)])
        for n in range(len(longest))
    ]
    errors: Counter[str] = Counter()
    for result in results:
        errors.update(result.errors)
    counts = {name: sum(getattr(r, name) for r in results) for name in _COUNTS}
    histograms = {name: Histogram.sum(getattr(r, name) for r in results) for name in HISTOGRAMS}
    merged: dict[str, Any] = {**counts, **histograms}
    return replace(
        first,
        started=min(result.started for result in results),
        elapsed=max(result.elapsed for result in results),
        answered=[count for result in results for count in result.answered],
        seconds=seconds,
        errors=dict(errors),
        interrupted=any(result.interrupted for result in results),
        lost=sum(result.lost for result in results),
        cpu=sum(result.cpu for result in results),
        outstanding=_sum_of_known(result.outstanding for result in results),
        waited=_sum_of_known(result.waited for result in results),
        **merged,
    )


def _sum_of_known(values: Iterable[float | None]) -> float | None:
    """Their sum; None if one of them is not known."""
    found = list(values)
    known = [value for value in found if value is not None]
    return sum(known) if len(known) == len(found) else None


def merge_seconds(seconds: Sequence[Second]) -> Second:
    """The one second of several runs that went on at the same time."""
    whole = seconds[0]
    for second in seconds[1:]:
        whole = whole.merged(second)
    return whole


def summary(histogram: Histogram) -> dict[str, Any]:
    """The figures of a histogram of nanoseconds, in seconds, and the whole as HdrHistogram encodes
    it. None are those that were not measured, and percentiles beyond the sample."""
    some = histogram.total > 0
    values = histogram.known_percentiles(PERCENTILES)
    return {
        "count": histogram.total,
        **{name: getattr(histogram, name) / 1e9 if some else None for name in _MOMENTS},
        "percentiles": {
            f"{percent:g}": None if value is None else value / 1e9
            for percent, value in zip(PERCENTILES, values, strict=True)
        },
        "encoded": histogram.encode(),
    }


def histogram_of(document: dict[str, Any]) -> Histogram:
    """The reverse of ``summary``."""
    histogram = Histogram.decode(document["encoded"])
    exact = [_number(document[name] or 0.0) for name in _MOMENTS]
    histogram.restore(*(value * 1e9 for value in exact))
    return histogram


def _plain(value: Any) -> Any:
    return value.encode() if isinstance(value, Histogram) else value


def _number(value: Any) -> float:
    """``value``, if it is a valid count or time. Raises ValueError."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < _LIMIT:
        raise ValueError(f"{value!r} is not a number of 0 or more")
    return value


def _optional(value: Any) -> float | None:
    return None if value is None else _number(value)


def _text(value: Any) -> str:
    """``value``, if it is text of one line. Raises ValueError."""
    if not isinstance(value, str) or not value.isprintable():
        raise ValueError(f"{value!r} is not text of one line")
    return value


def _date(value: Any) -> float:
    """``value``, if a calendar has that many seconds since the epoch. Raises ValueError."""
    if _number(value) > _LAST_DATE:
        raise ValueError(f"{value!r} seconds are beyond the year 9999")
    return float(value)
