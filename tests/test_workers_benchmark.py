"""`python -m benchmarks.workers`: what it makes of its figures, and that it runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.workers import page
from benchmarks.workers.cases import CASES, Plan, turns
from benchmarks.workers.page import Found
from benchmarks.workers.servers import ONE, SLOTS
from tests.documents import ROOT
from tests.support import DEADLINE

BURNING = CASES[-1]


def _found(one: dict[str, float], two: dict[str, float], rounds: int = 5) -> list[Found]:
    return [
        Found(BURNING.part, BURNING.name, variant.name, number, values)
        for number in range(1, rounds + 1)
        for variant, values in ((ONE, one), (SLOTS, two))
    ]


def _values(rate: float, ran: float, waited: float, load: float = 0.1) -> dict[str, float]:
    return {
        "rate": rate,
        "serving_cores": ran,
        "serving_ready": ran + waited,
        "load_cores": load,
        "load_ready": load,
        "cpu_us": 1e6 * ran / rate,
        "outside": 0.0,
    }


def test_the_share_of_the_load_is_accounted_for() -> None:
    """It takes a tenth of a core, for which the workers wait."""
    found = _found(_values(9000, 1.0, 0.0), _values(17100, 1.9, 0.1))
    ratio = page.accounted(BURNING, found)
    assert ratio is not None
    assert ratio.median == pytest.approx(2.0)
    row = page.scaling_row(BURNING, found)
    assert row[3] == "1.90 (1.90-1.90)"
    assert row[-1] == "the workers' CPU: the load takes 0.10 of their two cores"
    assert page.verdict(found).endswith(": met.")


def test_workers_that_are_idle_are_not_accounted_for() -> None:
    found = _found(_values(9000, 1.0, 0.0), _values(12600, 1.4, 0.0, load=1.0))
    ratio = page.accounted(BURNING, found)
    assert ratio is not None
    assert ratio.median == pytest.approx(1.4)
    assert page.limit(BURNING, found) == "the load generator, one thread"
    assert page.verdict(found).endswith(": not met.")


def test_messages_that_cost_more_with_two_workers_show() -> None:
    found = _found(_values(9000, 1.0, 0.0), _values(9000, 2.0, 0.0))
    ratio = page.accounted(BURNING, found)
    assert ratio is not None
    assert ratio.median == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("rounds", "outside", "why"),
    [(5, 0.04, None), (4, 0.0, "fewer than 5 rounds"), (5, 0.3, "for 30 % of the time")],
)
def test_a_run_that_is_not_to_be_quoted_says_so(
    rounds: int, outside: float, why: str | None
) -> None:
    values = _values(1.0, 1.0, 0.0) | {"outside": outside}
    text = page.method(Plan(rounds, 1.5, 0.4, (0, 1)), _found(values, values, rounds))
    assert ("Not to be quoted" in text) == (why is not None)
    assert (why or "") in text


def test_a_quick_run_has_every_case(tmp_path: Path) -> None:
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("two cores are needed")
    command = [sys.executable, "-m", "benchmarks.workers", "--quick", "--output", str(tmp_path)]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=3.5 * DEADLINE, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    document = json.loads((tmp_path / "workers.json").read_text())
    found = [(each["part"], each["case"], each["server"]) for each in document["measurements"]]
    assert found == [(case.part, case.name, variant.name) for case, variant in turns()]
    text = (tmp_path / "workers.md").read_text()
    assert "Not to be quoted" in text
    assert all(case.name in text for case in CASES if case.part in ("connections", "messages"))
