"""The page on scale says what its command prints, and nothing else."""

from __future__ import annotations

import json
import re
from dataclasses import replace

from benchmarks import scale
from tests.documents import ROOT

PAGE = ROOT / "docs/scale.md"
NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?")
PORTS = "65,536"  # of TCP: known, not measured


def test_the_tables_are_those_of_the_command() -> None:
    assert f"\n{scale.tables()}\n" in PAGE.read_text()


def test_no_figure_is_of_anything_else() -> None:
    printed = {*_numbers(scale.tables()), PORTS}
    text = PAGE.read_text()
    assert [number for number in _numbers(text) if number not in printed] == []


def _numbers(text: str) -> list[str]:
    return [number.rstrip(",") for number in NUMBER.findall(text)]


def test_three_nodes_had_the_copies_that_are_computed() -> None:
    own = json.loads(scale.FILE.read_text())["values"]
    assert len(own["members"]) == scale.NODES
    assert abs(own["copies"] - scale.deliveries(scale.NODES)) < 0.01
    assert own["received"] == own["published"] * sum(own["members"])


def test_twice_the_work_takes_twice_the_nodes() -> None:
    known = replace(scale.constants(), message=1e-3, opening=1e-9)
    one, _ = scale.nodes_for(1_000_000, known)
    two, least = scale.nodes_for(2_000_000, known)
    assert (one, two, least) == (25, 50, 2)


def test_the_openings_of_a_lost_node_fit_at_the_others() -> None:
    known = replace(scale.constants(), opening=1e-3)
    _, nodes = scale.nodes_for(1_000_000, known)
    lost = 1_000_000 / nodes
    assert lost / (nodes - 1) * 1e-3 <= scale.BACK_SECONDS * scale.BUSY * scale.CORES
    assert 1_000_000 / (nodes - 1) / max(1, nodes - 2) * 1e-3 > (
        scale.BACK_SECONDS * scale.BUSY * scale.CORES
    )
