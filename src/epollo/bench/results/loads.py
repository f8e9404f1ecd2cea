"""In which settings the loads of runs differ."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import fields
from typing import Any

from epollo.bench.workload import Workload

# These may differ between runs of the same load.
_FREE = {"address", "seed", "duration", "messages", "until"}
# Figures of runs that differ in these may be compared. Paths differ between machines.
_HARMLESS = {"warmup", "timeout", "source", "tls_ca", "tls_cert", "tls_key", "server_name"}
_NAMES = [field.name for field in fields(Workload) if field.name not in _FREE]


def differences(sides: Sequence[Sequence[Workload]]) -> Iterator[str]:
    """Each setting that differs, with its values on each side: ``depth 1, 4``."""
    for name in _NAMES:
        values = [_value(load, name) for side in sides for load in side]
        if any(value != values[0] for value in values):
            yield f"{name} {', '.join(_shown(side, name) for side in sides)}"


def incomparable(baseline: Workload, other: Workload) -> str:
    """The settings that make figures of ``other`` incomparable with those of ``baseline``, with
    both values: ``depth 4 instead of 1``; empty if there are none."""
    different = [
        f"{name} {_text(getattr(other, name))} instead of {_text(getattr(baseline, name))}"
        for name in _NAMES
        if name not in _HARMLESS and _value(other, name) != _value(baseline, name)
    ]
    return ", ".join(different)


def refusal(limit: str, run: str, baseline: str, words: str) -> str:
    """Says that ``run`` cannot be compared with ``baseline``, as they differ in these words."""
    return (
        f"fail-if: {limit!r}: {run} is of another load than {baseline}: {words}; "
        "run the same load, or add --different-load"
    )


def _value(workload: Workload, name: str) -> Any:
    """The value of a field, in a form that does not depend on how it was written."""
    if name == "rate" and workload.open_loop:
        return workload.profile
    if name == "cluster":  # whose scheduler it is does not matter
        return bool(workload.cluster)
    return workload.sizes if name == "size" else getattr(workload, name)


def _shown(side: Sequence[Workload], name: str) -> str:
    texts = [_text(getattr(load, name)) for load in side]
    return "/".join(dict.fromkeys(texts))


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return "+".join(value) or "none"
    return f"{value:g}" if isinstance(value, float) else str(value or "none")
