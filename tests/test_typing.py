"""What type checkers accept is accepted at run time too. `python -m tests.typing` runs them."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

PROGRAMS = sorted((Path(__file__).parent / "typing" / "right").glob("*.py"))


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.stem)
def test_a_right_program_is_served(program: Path) -> None:
    runpy.run_path(str(program))
