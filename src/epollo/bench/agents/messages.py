"""The messages between the process of a share and the one that started it: a line of JSON each.

Seconds and results are in the published form of `schema.json`. Next to them is what that form does
not tell exactly, so that nothing is lost when they are added up.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, TypeAlias

import epollo.errors
from epollo.bench.results.delays import Delays
from epollo.bench.results.figures import RunFigures
from epollo.bench.results.histogram import Histogram, StoredHistogram
from epollo.bench.results.reading import number, text, typed_errors
from epollo.bench.results.result import HISTOGRAMS, Result
from epollo.bench.results.second import SECOND_HISTOGRAMS, Second
from epollo.errors import ConnectError, EpolloError

_DELAYS = ("waits", "reads", "sends", "lags")


@dataclass(frozen=True, slots=True)
class Ready:
    """The share waits for `Go`: to begin the opening, and then the warm-up."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The run of the share is over. ``refusal``: why no connection could be made, if none could."""

    result: Result
    refusal: ConnectError | None


@dataclass(frozen=True, slots=True)
class Live:
    """A second of the share that may still get replies: to be shown."""

    second: Second


@dataclass(frozen=True, slots=True)
class Closed:
    """A second of the share that takes no more replies."""

    second: Second


@dataclass(frozen=True, slots=True)
class Amended:
    """``more`` values of the closed second of that number, all the same."""

    number: int
    more: tuple[Histogram, Histogram, Histogram]


@dataclass(frozen=True, slots=True)
class Lost:
    """The agent is gone, and its share with it; ``why``, in words. No process sends it:
    `Agents` find out."""

    why: str


@dataclass(frozen=True, slots=True)
class Go:
    """Continue ``at`` that time, in ns of CLOCK_MONOTONIC of the agent's machine."""

    at: int


@dataclass(frozen=True, slots=True)
class Stop:
    """End early; ``interrupted`` as in `Driver.stop`."""

    interrupted: bool


Told: TypeAlias = Ready | RunFigures | Live | Closed | Amended | Outcome | EpolloError
"""What the process of a share sends."""
FromAgent: TypeAlias = Told | Lost
ToAgent: TypeAlias = Go | Stop


def line_of(message: Told | ToAgent) -> bytes:
    """The line of a message."""
    for kind, (name, dump, _) in _FORMS.items():
        if isinstance(message, kind):
            return json.dumps({name: dump(message)}).encode() + b"\n"
    raise TypeError(message)


def message_of(line: str | bytes) -> Any:
    """The message of a line. Raises ResultFileError."""
    with typed_errors():
        ((name, value),) = json.loads(line).items()
        return _READERS[name](value)


def _exact(histograms: Mapping[str, Histogram]) -> dict[str, tuple[int, int, int, int]]:
    return {name: histogram.exact for name, histogram in histograms.items()}


def _restored(encoded: str, exact: list[int]) -> Histogram:
    values, squares, least, most = exact
    return StoredHistogram(lambda: (encoded, (values, squares, least, most)))


def _second(second: Second) -> dict[str, Any]:
    histograms = {name: getattr(second, name) for name in SECOND_HISTOGRAMS}
    return {"second": second.to_document(), "exact": _exact(histograms)}


def _second_of(value: dict[str, Any]) -> Second:
    document, exact = value["second"], value["exact"]
    whole: dict[str, Any] = {
        name: _restored(document[name], exact[name]) for name in SECOND_HISTOGRAMS
    }
    numbers: dict[str, Any] = {
        name: None if name == "target" and known is None else number(known)
        for name, known in document.items()
        if name not in whole
    }
    return Second(**numbers, **whole)


def _amended(amended: Amended) -> dict[str, Any]:
    return {
        "number": amended.number,
        "more": [{"encoded": each.encode(), "exact": each.exact} for each in amended.more],
    }


def _amended_of(value: dict[str, Any]) -> Amended:
    response, service, slip = (_restored(each["encoded"], each["exact"]) for each in value["more"])
    return Amended(int(number(value["number"])), (response, service, slip))


def _outcome(outcome: Outcome) -> dict[str, Any]:
    result = outcome.result
    exact = _exact({name: getattr(result, name) for name in HISTOGRAMS})
    if result.delays is not None:
        exact |= _exact({name: getattr(result.delays, name) for name in _DELAYS})
    refusal = None if outcome.refusal is None else str(outcome.refusal)
    return {"result": result.to_document(), "exact": exact, "refusal": refusal}


def _outcome_of(value: dict[str, Any]) -> Outcome:
    document, exact = value["result"], value["exact"]
    found = Result.of_document(document)
    whole: dict[str, Any] = {
        name: _restored(document[name]["encoded"], exact[name]) for name in HISTOGRAMS
    }
    if found.delays is not None:
        whole["delays"] = _delays_of(found.delays, document["delays"], exact)
    refusal = None if value["refusal"] is None else ConnectError(text(value["refusal"]))
    return Outcome(replace(found, **whole), refusal)


def _delays_of(delays: Delays, document: dict[str, Any], exact: dict[str, Any]) -> Delays:
    whole: dict[str, Any] = {
        name: _restored(document[name]["encoded"], exact[name]) for name in _DELAYS
    }
    return replace(delays, **whole)


def _error_of(value: dict[str, str]) -> EpolloError:
    """The error of the same name; one that needs more than a text becomes an EpolloError."""
    kind = getattr(epollo.errors, value["type"], EpolloError)
    try:
        error = kind(value["text"])
    except TypeError:
        return EpolloError(value["text"])
    return error if isinstance(error, EpolloError) else EpolloError(value["text"])


_Form: TypeAlias = tuple[str, Callable[[Any], Any], Callable[[Any], Any]]
# For each message its name in JSON, how its value is written, and how it is read.
_FORMS: dict[type, _Form] = {
    Ready: ("ready", lambda _: True, lambda _: Ready()),
    RunFigures: ("figures", asdict, lambda value: RunFigures(**value)),
    Live: ("live", lambda live: _second(live.second), lambda value: Live(_second_of(value))),
    Closed: ("closed", lambda kept: _second(kept.second), lambda value: Closed(_second_of(value))),
    Amended: ("amended", _amended, _amended_of),
    Outcome: ("outcome", _outcome, _outcome_of),
    EpolloError: (
        "error",
        lambda error: {"type": type(error).__name__, "text": str(error)},
        _error_of,
    ),
    Go: ("go", lambda go: go.at, lambda value: Go(int(number(value)))),
    Stop: ("stop", lambda stop: stop.interrupted, lambda value: Stop(bool(value))),
}
_READERS = {name: read for name, _, read in _FORMS.values()}
