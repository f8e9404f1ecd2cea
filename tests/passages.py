"""The prose in a file: comments, docstrings and other text in Python and Cython, or Markdown. And
the rest of it, the code."""

from __future__ import annotations

import bisect
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from pathlib import Path

_TOKENS = re.compile(
    r"""(?P<comment>\#[^\n]*)
    |(?P<string>(?<!\w)[rRbBfFuU]{0,2}(?:
        \"{3}(?:[^\\]|\\.)*?\"{3} | '{3}(?:[^\\]|\\.)*?'{3}
        | "(?:[^"\\\n]|\\.)*" | '(?:[^'\\\n]|\\.)*'))""",
    re.VERBOSE | re.DOTALL,
)
_QUOTED = re.compile(r"""[rRbBfFuU]{0,2}("{3}|'{3}|"|')(.*)\1""", re.DOTALL)
_CODE = re.compile(r"`+[^`]*`+|\{[^{}]*\}")  # in backticks, or filled in by an f-string
_FENCED = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class Passage:
    """Text that is read as one: comments on lines that follow each other, or a string."""

    path: Path
    lines: tuple[tuple[int, str], ...]  # each with its number

    @cached_property
    def text(self) -> str:
        """All of it in one line. Code in backticks is ``x``."""
        return _CODE.sub(_blank, " ".join(line for _, line in self.lines))

    def line_at(self, offset: int) -> int:
        """The number of the line that a place in ``text`` is from."""
        starts = accumulate((len(line) + 1 for _, line in self.lines), initial=0)
        return self.lines[bisect.bisect_right(list(starts), offset) - 1][0]


def passages(path: Path) -> Iterator[Passage]:
    """Those of a file of Python or Cython, in order."""
    source = path.read_text()
    before = ""  # the kind of the last token
    end = 0
    lines: list[tuple[int, str]] = []
    for token in _TOKENS.finditer(source):
        kind = str(token.lastgroup)
        gap = source[end : token.start()]
        if not (kind == before and _continues(kind, gap)) and lines:
            yield Passage(path, tuple(lines))
            lines = []
        lines += _lines(kind, token[0], source.count("\n", 0, token.start()) + 1)
        before, end = kind, token.end()
    if lines:
        yield Passage(path, tuple(lines))


def code(path: Path) -> str:
    """A file of Python or Cython without comments and text; what an f-string fills in is code."""

    def keep(token: re.Match[str]) -> str:
        prefix = token[0][: token[0].find(token[0][-1])].lower()
        filled_in = re.findall(r"\{[^{}]*\}", token[0]) if "f" in prefix else []
        return " ".join(['""', *filled_in]) if token["string"] else ""

    return _TOKENS.sub(keep, path.read_text())


def paragraphs(path: Path) -> Iterator[Passage]:
    """Those of a page of Markdown, without its blocks of code."""
    text = _FENCED.sub(lambda block: "\n" * block[0].count("\n"), path.read_text())
    lines: list[tuple[int, str]] = []
    for number, line in enumerate([*text.splitlines(), ""], start=1):
        if line.startswith("    ") and not lines:
            continue
        if line.strip() and not line.startswith("|"):
            lines.append((number, line.strip()))
            continue
        if lines:
            yield Passage(path, tuple(lines))
            lines = []
        if line.strip():  # a row of a table
            yield Passage(path, ((number, line),))


def _continues(kind: str, gap: str) -> bool:
    """Is a token with this gap before it read together with the one before?"""
    one_line_on = gap.count("\n") == 1 if kind == "comment" else "\n\n" not in gap
    return not gap.strip() and one_line_on


def _lines(kind: str, token: str, first: int) -> list[tuple[int, str]]:
    if kind == "comment":
        return [(first, token.lstrip("#: "))]
    quoted = _QUOTED.fullmatch(token)
    assert quoted is not None
    return [(first + n, line.strip()) for n, line in enumerate(quoted[2].split("\n"))]


def _blank(code: re.Match[str]) -> str:
    """``x`` as long as the code, so that places in the text stay what they were."""
    return "x" * len(code[0])
