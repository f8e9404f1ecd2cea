"""The partial result of a run that goes on, or was killed: lines of JSON, the first for the load,
and one for each second so far."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from epollo.bench.results.histogram import Histogram
from epollo.bench.results.reading import date, typed_errors
from epollo.bench.results.result import VERSION, Result, workload_of
from epollo.bench.results.second import Second
from epollo.bench.workload import Workload

UNTOLD = "untold"  # an error whose kind a partial result does not tell
SUFFIX = ".partial"  # of the name of the file
_MARK = "partial"


def head(workload: Workload, started: float) -> str:
    """The first line."""
    return json.dumps({_MARK: VERSION, "workload": asdict(workload), "started": started})


def line(second: Second) -> str:
    """The line of a second."""
    return json.dumps(second.to_document())


def is_partial(text: str) -> bool:
    """Is ``text`` the beginning of a partial result?"""
    return text.startswith(f'{{"{_MARK}": ')


def of_text(text: str) -> Result:
    """The result so far. Raises ResultFileError."""
    with typed_errors():
        first, *others = text.split("\n")
        about = json.loads(first)
        return so_far(
            workload_of(about["workload"]), date(about["started"]), list(_seconds(others))
        )


def _seconds(lines: list[str]) -> Iterator[Second]:
    """All but a last line that is not complete."""
    for text in lines[:-1]:
        document: dict[str, Any] = json.loads(text)
        yield Second.of_document(document)


def so_far(workload: Workload, started: float, seconds: list[Second]) -> Result:
    """The result of these seconds of a run."""
    errors = sum(second.errors for second in seconds)
    nothing = Histogram()
    return Result(
        workload=workload,
        started=started,
        elapsed=sum(second.seconds for second in seconds),
        sent=sum(second.sent for second in seconds),
        bytes_sent=0,
        bytes_received=0,
        response=Histogram.sum(second.response for second in seconds),
        service=Histogram.sum(second.service for second in seconds),
        slip=Histogram.sum(second.slip for second in seconds),
        answered=[sum(second.messages for second in seconds)],
        connect=nothing,
        first_reply=nothing,
        seconds=seconds,
        errors={UNTOLD: errors} if errors else {},
        partial=True,
    )
