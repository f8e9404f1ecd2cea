"""The stages of a connection: the table of what may follow what, and that nothing else does."""

from __future__ import annotations

import re
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from epollo.engine import available, new_loop
from epollo.engine.connection import CALLED_BY_NATIVE, NEXT_STAGES, BaseConnection, Stage

# Of the checkout: an installed epollo has no sources of its native engine.
NATIVE = Path(__file__).parents[2] / "src" / "epollo" / "engine" / "native"


def sketch_in(stage: Stage, engine: str) -> BaseConnection:
    """A connection of ``engine`` that is in a stage, and nothing else."""
    loop: Any = new_loop(engine)
    loop.close()
    sketch: BaseConnection = loop._new_connection.__new__(loop._new_connection)
    sketch.stage = stage
    sketch.peer = sketch.reason = None
    sketch.paused = 0
    sketch.held_back = ()
    return sketch


def test_every_stage_has_its_row() -> None:
    assert set(NEXT_STAGES) == set(Stage)


def test_a_connection_only_goes_on() -> None:
    assert all(after > before for before, row in NEXT_STAGES.items() for after in row)


@pytest.mark.parametrize("engine", available())
@pytest.mark.parametrize(("before", "after"), list(product(Stage, Stage)))
def test_a_stage_is_followed_by_those_of_the_table_only(
    before: Stage, after: Stage, engine: str
) -> None:
    sketch = sketch_in(before, engine)
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
    called = set(re.findall(r"\b(?:self|connection)\.(\w+)\(", "".join(sources)))
    passed_on = set(re.findall(r"\bBaseConnection\.(\w+)\(", "".join(sources)))
    own = set(re.findall(r"^    (?:cp?def|def) [^(\n]*?(\w+)\(", "".join(sources), re.MULTILINE))
    inherited = {name for name in dir(BaseConnection) if callable(getattr(BaseConnection, name))}
    listed = passed_on | (called & inherited) - own
    assert sorted(listed) == sorted(CALLED_BY_NATIVE.split())
