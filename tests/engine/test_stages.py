"""The stages of a connection: the table of what may follow what, and that nothing else does."""

from __future__ import annotations

import re
from itertools import product
from pathlib import Path

import pytest

from epollo.engine.connection import CALLED_BY_NATIVE, NEXT_STAGES, BaseConnection, Stage
from epollo.engine.python.connection import Connection

# Of the checkout: an installed epollo has no sources of its native engine.
NATIVE = Path(__file__).parents[2] / "src" / "epollo" / "engine" / "native"


class Sketch(Connection):
    """A connection that is in a stage, and nothing else."""

    __slots__ = ()

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.peer = self.reason = None
        self.paused = 0
        self.held_back = ()


def test_every_stage_has_its_row() -> None:
    assert set(NEXT_STAGES) == set(Stage)


def test_a_connection_only_goes_on() -> None:
    assert all(after > before for before, row in NEXT_STAGES.items() for after in row)


@pytest.mark.parametrize(("before", "after"), list(product(Stage, Stage)))
def test_a_stage_is_followed_by_those_of_the_table_only(before: Stage, after: Stage) -> None:
    sketch = Sketch(before)
    if after in NEXT_STAGES[before]:
        assert sketch._enter(after)
        assert sketch.stage == after
    elif after <= before:  # a signal handler has been there first
        assert not sketch._enter(after)
        assert sketch.stage == before
    else:
        with pytest.raises(AssertionError, match=f"cannot become {after.name.lower()}"):
            sketch._enter(after)
        assert sketch.stage == before


def test_what_the_native_engine_calls_is_listed() -> None:
    sources = [path.read_text() for path in NATIVE.glob("*.pyx")]
    assert sources
    called = set(re.findall(r"\b(?:self|connection|BaseConnection)\.(\w+)\(", "".join(sources)))
    own = set(re.findall(r"^    (?:cp?def|def) [^(\n]*?(\w+)\(", "".join(sources), re.MULTILINE))
    inherited = {name for name in dir(BaseConnection) if callable(getattr(BaseConnection, name))}
    assert sorted((called & inherited) - (own - {"send"})) == sorted(CALLED_BY_NATIVE.split())
