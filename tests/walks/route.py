"""The functions of epollo that were called, in order."""

from __future__ import annotations

import itertools
import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import epollo

_PACKAGE = f"{Path(epollo.__path__[0])}/"


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a Python function, or one resumption of a generator or coroutine."""

    file: str  # below src/epollo
    function: str


@dataclass
class Route:
    """Records calls in this thread: ``with route: ...``, which may be repeated to go on."""

    calls: list[Call] = field(default_factory=list)

    @property
    def files(self) -> int:
        """How many files are visited."""
        return len({call.file for call in self.calls})

    @property
    def changes(self) -> int:
        """How often a call is in another file than the call before it."""
        return sum(one.file != other.file for one, other in itertools.pairwise(self.calls))

    @property
    def visits(self) -> list[tuple[str, list[str]]]:
        """The calls in order, those in a row in one file together."""
        return [
            (file, [call.function for call in calls])
            for file, calls in itertools.groupby(self.calls, lambda call: call.file)
        ]

    def __enter__(self) -> None:
        sys.setprofile(self._record)

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)

    def _record(self, frame: FrameType, event: str, _: Any) -> None:
        code = frame.f_code
        if event != "call" or not code.co_filename.startswith(_PACKAGE):
            return
        # A comprehension is a function up to Python 3.11 only.
        if code.co_name in ("<listcomp>", "<setcomp>", "<dictcomp>"):
            return
        function = code.co_qualname.replace("<locals>.", "")
        self.calls.append(Call(code.co_filename.removeprefix(_PACKAGE), function))
