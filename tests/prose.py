"""Find the turns of phrase that plain technical English does without.

    python -m tests.prose                 # everywhere that people read
    python -m tests.prose docs src/epollo/engine

Prints each one with its place, and how many there are of each pattern in each directory. Exit
status 1 if there is any. It reads the comments, docstrings and texts of code, and Markdown pages;
if no path is given, also the help of every command.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import click

from epollo.cli.main import cli
from tests.documents import ROOT
from tests.passages import Passage, paragraphs, passages

CODE = (".py", ".pyi", ".pyx", ".pxd")
PAGES = ("docs", "README.md", "CONTRIBUTING.md", "CHANGELOG.md")
"""The pages that are checked, below the root of the repository."""

_VERB = (
    r"(?:is|are|was|were|has|have|had|does|do|did|may|might|can|cannot|could|will|would|must|needs?"
    r"|comes?|came|goes|go|went|takes?|gives?|makes?|sends?|gets?|stands?|says?|holds?|happens?"
    r"|becomes?|became|waits?|reads?|keeps?|ends?|belongs?)\b"
)
_OF_A_PLACE = (  # what stands before a "where" that means a place
    r"(?:says?|said|tells?|told|knows?|known|knew|sees?|shows?|shown|asks?|finds?|found|remembers?"
    r"|from|to|of|is|places?|points?|lines?|address(?:es)?|positions?|ends?|begins?|written|left)"
)
_WHO = r"(?:who|whom|whoever|whomever|he|his|him|himself)"
_PERSON = r"(?:users?|people|person|readers?|developers?|authors?|anyone|someone|everyone)"

# Of what a pattern matches, only the group counts: what stands before the group is good English.
PATTERNS = {
    "where (if)": rf"\b{_OF_A_PLACE} where\b|\bwhere to\b"
    r"|(?:^|(?<=[.:;?!(] ))where\b(?![^.:;?!]*, (?!(?:in|as|of|at|from|with)\b))|(\bwhere\b)",
    "is none": r"\bthere (?:is|are|was|were|be) none\b|(\b(?:is|are|was|were|be) (?-i:none)\b)",
    ", for (because)": r"(, for (?:it|they|he|she|we|nobody|there|who|what)\b"
    r"|, for (?:the|a|an|all|any|each|no|that|this|these|its|their|others)"
    rf"(?: (?!that\b|which\b|who\b|where\b|if\b|and\b)[\w'-]+){{0,3}}? {_VERB})",
    "beside": r"(\bbeside\b)",
    "so many": r"(\bso (?:many|few)\b)",
    "but for": r"(\bbut for\b)",
    "that of": r"(\bthat of\b)",
    "who (of a thing)": rf"\b{_PERSON} who\b|(\b{_WHO}\b)",
    "What + verb": rf"(?:^|(?<=[.?!] ))What {_VERB}[^.?!]*\?|(?:^|(?<=[.?!] ))(What {_VERB})",
    "metaphor": r"\broom (?:for|to)\b|\b(?:no|has|have) room\b"
    r"|(\b(?:houses?|rooms?|doors?|burials?|bury|buries|buried|soil(?:s|ed)?|graves?|guests?|ado"
    r"|greet(?:s|ed)?|companions?)\b)",
}
_COMPILED = {name: re.compile(pattern, re.IGNORECASE) for name, pattern in PATTERNS.items()}
_COMPILED["What + verb"] = re.compile(PATTERNS["What + verb"])  # within a sentence it is another


@dataclass(frozen=True)
class Finding:
    """One turn of phrase, at its place."""

    pattern: str
    path: Path
    line: int
    context: str

    def __str__(self) -> str:
        return f"{_shown(self.path)}:{self.line}: {self.pattern}: {self.context}"


def check(passage: Passage) -> Iterator[Finding]:
    """What is found in one passage."""
    for name, pattern in _COMPILED.items():
        for match in pattern.finditer(passage.text):
            if match[1] is not None:
                context = passage.text[max(0, match.start(1) - 30) : match.end(1) + 30]
                yield Finding(name, passage.path, passage.line_at(match.start(1)), context.strip())


def check_all(roots: Iterable[Path]) -> list[Finding]:
    """What is found in the code and the pages that ``roots`` are or contain."""
    found: list[Finding] = []
    for path in sorted(_files(roots)):
        if path.suffix in (*CODE, ".md"):
            read = paragraphs if path.suffix == ".md" else passages
            found += (finding for passage in read(path) for finding in check(passage))
    return found


def check_help() -> list[Finding]:
    """What is found in the help of every command, as it is printed."""
    return [
        finding
        for command in _commands(cli, "epollo")
        for paragraph in _help(command).split("\n\n")
        for finding in check(Passage(Path(command.info_name or ""), ((1, _joined(paragraph)),)))
    ]


def _commands(command: click.Command, path: str) -> Iterator[click.Context]:
    context = click.Context(command, info_name=path, max_content_width=100)
    yield context
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            _, found, _ = command.resolve_command(context, [name])  # which loads it
            assert found is not None
            yield from _commands(found, f"{path} {name}")


def _help(context: click.Context) -> str:
    return context.command.get_help(context)


def _joined(paragraph: str) -> str:
    return " ".join(paragraph.split())


def _files(roots: Iterable[Path]) -> Iterator[Path]:
    for root in roots:
        yield from [root] if root.is_file() else root.rglob("*")


def _counts(found: Iterable[Finding]) -> Iterator[str]:
    counted = Counter((finding.pattern, finding.path.parent) for finding in found)
    for pattern in PATTERNS:
        of_it = {folder: n for (name, folder), n in counted.items() if name == pattern}
        if of_it:
            yield f"{pattern}: {sum(of_it.values())}"
            yield from (f"  {n:4} {_shown(folder)}" for folder, n in sorted(of_it.items()))


def _shown(path: Path) -> Path:
    return path.relative_to(ROOT) if path.is_relative_to(ROOT) else path


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.prose",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("paths", nargs="*", type=Path, help="files or directories; default: all")
    parser.add_argument("--counts", action="store_true", help="print the counts only")
    options = parser.parse_args()
    found = check_all(options.paths or [ROOT / "src"])
    if not options.paths:
        found += check_all(ROOT / page for page in PAGES)
        found += check_help()
    if not options.counts:
        print(*found, sep="\n")
    print(*_counts(found), f"in all: {len(found)}", sep="\n")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
