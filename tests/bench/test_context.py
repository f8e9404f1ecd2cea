"""The modules of a run import only downwards: connections know their context, not the driver."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest

from tests.documents import ROOT

RUN = ROOT / "src" / "epollo" / "bench" / "run"
IMPORT = re.compile(r"^\s*(?:from|import) epollo\.bench\.run\.(\w+)", re.MULTILINE)
ORDER = ("driver", "pool", "opener", "schedule", "connection", "context", "metrics")


@pytest.mark.parametrize(("above", "below"), list(pairwise(ORDER)))
def test_a_module_of_a_run_is_not_imported_by_one_below_it(above: str, below: str) -> None:
    higher = set(ORDER[: ORDER.index(above) + 1])
    assert higher.isdisjoint(IMPORT.findall((RUN / f"{below}.py").read_text()))


@pytest.mark.parametrize("backend", ["python", "native"])
def test_what_is_done_for_each_message_does_not_know_the_driver(backend: str) -> None:
    sources = [path for path in (RUN / backend).iterdir() if path.suffix in (".py", ".pyx", ".pxd")]
    found = {name for path in sources for name in IMPORT.findall(path.read_text())}
    assert found.isdisjoint({"driver", "pool", "opener"})
