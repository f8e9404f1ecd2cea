"""The JSON documents that the experiments write."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from epollo.cli.files import write_text
from epollo.lab.backlog import PROMPT, BacklogResult, QueueResult
from epollo.lab.claims import CLAIMS, Verdict
from epollo.lab.comparison import ComparedServer, Comparison
from epollo.lab.machine import Machine
from epollo.lab.pollers import PollersResult

VERSION = 1


def write_json(path: str, document: dict[str, Any]) -> None:
    """Write the document to the file, or to stdout for "-"."""
    write_text(path, json.dumps(document, indent=1, ensure_ascii=False))


def pollers_document(
    result: PollersResult, machine: Machine, verdicts: Sequence[Verdict]
) -> dict[str, Any]:
    """The raw figures of `epollo lab pollers`; times in seconds."""
    return _document("pollers", machine, verdicts) | asdict(result)


def backlog_document(
    result: BacklogResult, machine: Machine, verdicts: Sequence[Verdict]
) -> dict[str, Any]:
    """The raw figures of `epollo lab backlog`, and their totals; times in seconds."""
    document = _document("backlog", machine, verdicts) | asdict(result)
    for found, entry in zip(result.results, document["results"], strict=True):
        entry.update(_totals(found))
    return document


def peers_document(result: Comparison, machine: Machine) -> dict[str, Any]:
    """The raw figures of `epollo lab peers`, and their medians; times in seconds."""
    document = _document("peers", machine, []) | asdict(result) | {"base": result.base.name}
    for server, entry in zip(result.servers, document["servers"], strict=True):
        if server.missing is None:
            entry["depths"] = [_medians(result, server, depth) for depth in result.depths]
    return document


def _medians(result: Comparison, server: ComparedServer, depth: int) -> dict[str, Any]:
    return {
        "depth": depth,
        "rate": asdict(result.rate(server, depth)),
        "ratio": asdict(result.ratio(server, depth)),
        "busy": result.busy(server, depth),
        "cpu_per_message": result.cost(server, depth),
    }


def _document(experiment: str, machine: Machine, verdicts: Sequence[Verdict]) -> dict[str, Any]:
    return {
        "version": VERSION,
        "experiment": experiment,
        "machine": asdict(machine),
        "verdicts": [_verdict(verdict) for verdict in verdicts],
    }


def _verdict(verdict: Verdict) -> dict[str, Any]:
    return {
        "claim": verdict.claim,
        "text": CLAIMS[verdict.claim],
        "holds": verdict.holds.name.lower(),  # yes, in_part, no, unknown
        "why": verdict.why,
    }


def _totals(found: QueueResult) -> dict[str, Any]:
    return {
        "clients": found.clients,
        "replied_within_1s": found.prompt,
        "replied_later": found.late,
        "never_replied": found.never,
        "last_reply": found.last_reply,
        "connected": found.connected,
        "connected_never_replied": found.connected_unserved,
        "connected_within_1s": found.connected_by(PROMPT),
        "connected_within_1s_without_reply": found.connected_by(PROMPT) - found.prompt,
    }
