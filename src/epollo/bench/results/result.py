"""The result of one run, and its JSON form."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

from epollo.bench.messages import matched_by
from epollo.bench.results.agent import AgentPart, missing
from epollo.bench.results.culprit import Culprit, Shares, culprit, shares
from epollo.bench.results.delays import Delays
from epollo.bench.results.floor import Floor
from epollo.bench.results.histogram import Histogram
from epollo.bench.results.precision import Precision
from epollo.bench.results.reading import (
    NO_RESULT,
    date,
    number,
    optional,
    shortened,
    text,
    typed_errors,
)
from epollo.bench.results.second import SECOND_HISTOGRAMS, Second, merge_seconds
from epollo.bench.results.series import Series, column, lines_of, minutes_of
from epollo.bench.workload import Workload
from epollo.errors import ResultFileError

VERSION = 3
_READABLE = (2, 3)  # in version 2, what was not measured was 0
PERCENTILES = (50.0, 75.0, 90.0, 95.0, 99.0, 99.9, 99.99, 100.0)
HISTOGRAMS = (*SECOND_HISTOGRAMS, "connect", "first_reply")
_COUNTS = ("sent", "bytes_sent", "bytes_received")
_MOMENTS = ("mean", "deviation", "minimum", "maximum")
_PLAIN = ("elapsed", *_COUNTS)
# Buckets that the histograms of a file may use. Real ones take half a character of the file each or
# more, but a few characters made for the purpose may stand for thousands.
_BUCKETS, _BUCKETS_PER_CHARACTER = 1 << 22, 16
_QUEUE = 10  # messages; for a shorter queue, Little's law is more exact than samples
LATE = 1_000_000  # ns; a message sent this long after its due time is late
IN_WARMUP = "in_warmup"  # an error: messages of the warm-up answered wrongly, or not at all
UNSENT = "unsent"  # an error: messages due but never sent
LATE_ALLOWED = 0.001  # of all messages; with more late ones, the tester did not keep its schedule


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
        precision: how precisely the figures are known for which the run was to go on, as ``until``
            of the workload says; empty without that, and in a partial result.
        partial: the run did not end, or goes on: these are its figures so far. Those that are
            known only at the end are empty.
        lost: connections that were open and ended before the run did: broken, or timed out.
        cpu: CPU seconds of the tester in the window, of all its processes together.
        outstanding: messages outstanding, on average over the window: the integral of their number
            divided by its length. None for a result of version 2.
        waited: seconds in which it was ready to run and had no processor, likewise; None if that is
            not known.
        delays: where the time of the replies went; None if it was not measured.
        floor: what the tester itself takes for an exchange; None if it was not measured.
        agents: what each of several processes, or workers of a cluster, measured of it; empty if
            one process did all.
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
    precision: tuple[Precision, ...] = ()
    partial: bool = False
    lost: int = 0
    cpu: float = 0.0
    waited: float | None = None
    outstanding: float | None = None
    delays: Delays | None = None
    floor: Floor | None = None
    agents: tuple[AgentPart, ...] = ()

    @property
    def messages(self) -> int:
        """Messages that were answered correctly."""
        return sum(self.answered)

    @property
    def rate(self) -> float:
        """Messages answered a second while the window was open. Replies after the window, which a
        backlog delayed, are in ``messages``, but not here."""
        answered = sum(column(self.seconds, "messages"))
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
        targets, lengths = column(self.seconds, "target"), column(self.seconds, "seconds")
        pairs = zip(targets, lengths, strict=True)
        wanted = sum(target * length for target, length in pairs if not math.isnan(target))
        return wanted / sum(lengths) if self.seconds else None

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

    @property
    def culprit(self) -> Culprit:
        """The side that had the largest part of the response times, if they are long."""
        return culprit(self)

    @property
    def shares(self) -> Shares | None:
        """The parts of the mean response time; None if they are not known."""
        return shares(self)

    def _part(self, seconds: float) -> float:
        testers = len(self.agents) - len(missing(self.agents)) or self.workload.processes
        return seconds / self.elapsed / testers if self.elapsed else 0.0

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
        """Was there any error, no measured message, or an agent without a result?"""
        return bool(self.errors or missing(self.agents)) or not self.messages

    def to_json(self) -> str:
        """Everything as one JSON document, with times in seconds; `schema.json` describes it."""
        return "".join(self.json_parts())

    def json_parts(self) -> Iterator[str]:
        """The parts of `to_json`, one after the other: those of a day need not be in memory."""
        document = self._summary()
        for place, (name, value) in enumerate(document.items()):
            yield f"{',' if place else '{'}\n  {json.dumps(name)}: {_indented(value)}"
        yield ',\n  "seconds": ['
        yield from _listed(lines_of(self.seconds))
        yield "]"
        minutes = minutes_of(self.seconds)
        if minutes is not None:
            yield ',\n  "minutes": ['
            yield from _listed(map(json.dumps, minutes))
            yield "]"
        yield "\n}"

    def to_document(self) -> dict[str, Any]:
        """The JSON document as a dictionary."""
        return {**self._summary(), "seconds": [second.to_document() for second in self.seconds]}

    def _summary(self) -> dict[str, Any]:
        """The document without the seconds."""
        return {
            "version": VERSION,
            "workload": asdict(self.workload),
            "started": self.started,
            "elapsed": self.elapsed,
            "interrupted": self.interrupted,
            "precision": [each.to_document() for each in self.precision],
            "matched_by": matched_by(self.workload),
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
            "floor": None if self.floor is None else self.floor.to_document(),
            "delays": None if self.delays is None else self.delays.to_document(),
            "culprit": self.culprit,
            "shares": None if (parts := self.shares) is None else parts.to_document(),
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
            "errors": self.errors,
            "agents": [agent.to_document() for agent in self.agents],
        }

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The reverse of ``to_json``. Raises ResultFileError."""
        with typed_errors():
            document = json.loads(text)
            if not isinstance(document, dict):
                raise ResultFileError(f"{NO_RESULT}: not a JSON object")
            check_version(document)
            return cls._of_document(document, _BUCKETS + _BUCKETS_PER_CHARACTER * len(text))

    @classmethod
    def of_document(cls, document: dict[str, Any]) -> Self:
        """The reverse of ``to_document``. Raises ResultFileError."""
        with typed_errors():
            return cls._of_document(document, math.inf)

    @classmethod
    def _of_document(cls, document: dict[str, Any], most_buckets: float) -> Self:
        load = document["workload"]
        histograms = {name: histogram_of(document[name]) for name in HISTOGRAMS}
        plain = {name: number(document[name]) for name in _PLAIN}
        errors = {text(name): int(number(count)) for name, count in document["errors"].items()}
        known: dict[str, Any] = {**plain, **histograms, "errors": errors}
        return cls(
            started=date(document["started"]),
            workload=workload_of(load),
            answered=[int(number(count)) for count in document["connections"]["answered"]],
            seconds=_all_seconds(document["seconds"], most_buckets),
            interrupted=bool(document["interrupted"]),
            precision=tuple(map(Precision.of_document, document.get("precision", ()))),
            lost=int(number(document["connections"].get("lost", 0))),
            cpu=number(document.get("cpu", 0.0)),
            waited=optional(document.get("cpu_wait")),
            outstanding=optional(document["concurrency"]) if document["version"] > 2 else None,
            floor=Floor.of_document(found) if (found := document.get("floor")) else None,
            delays=Delays.of_document(found) if (found := document.get("delays")) else None,
            agents=tuple(map(AgentPart.of_document, document.get("agents", ()))),
            **known,
        )


def workload_of(document: dict[str, Any]) -> Workload:
    """The workload in a document."""
    lists = {name: tuple(map(text, document.get(name, ()))) for name in ("source", "tls_alpn")}
    return Workload(**document | lists)


def check_version(document: dict[str, Any]) -> None:
    """Raises ResultFileError if it is of another version, or of a search."""
    if "search" in document:
        raise ResultFileError(
            "of --find-rate, which has many runs; use one of the results in its probes"
        )
    version = document["version"]
    if version not in _READABLE:
        found = shortened(repr(version))
        known = " and ".join(map(str, _READABLE))
        raise ResultFileError(f"version {found} of a result; this epollo reads versions {known}")


def _all_seconds(documents: Any, most_buckets: float) -> Sequence[Second]:
    """The seconds of a result; those of a large file have been read."""
    if isinstance(documents, Series):
        return documents
    return list(_seconds_of(documents, most_buckets))


def _seconds_of(documents: Iterable[dict[str, Any]], most_buckets: float) -> Iterator[Second]:
    """The seconds of a result, unless their histograms use more buckets than that."""
    for document in documents:
        second = Second.of_document(document)
        most_buckets -= second.buckets
        if most_buckets < 0:
            raise ValueError("its histograms are too large for a file of its size")
        yield second


def _indented(value: Any) -> str:
    return json.dumps(value, indent=2).replace("\n", "\n  ")


def _listed(items: Iterable[str]) -> Iterator[str]:
    """The items of a list, a line each."""
    for place, item in enumerate(items):
        yield f"{',' if place else ''}\n    {item}"


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
        delays=Delays.merged(r.delays for r in results if r.delays is not None),
        **merged,
    )


def _sum_of_known(values: Iterable[float | None]) -> float | None:
    """Their sum; None if one of them is not known."""
    found = list(values)
    known = [value for value in found if value is not None]
    return sum(known) if len(known) == len(found) else None


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
    exact = [number(document[name] or 0.0) for name in _MOMENTS]
    histogram.restore(*(value * 1e9 for value in exact))
    return histogram
