"""What can be held against a page of Markdown: its commands, links, settings and Python."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

import click

from epollo.cli.main import cli

ROOT = Path(__file__).parent.parent

_FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_INDENTED = re.compile(r"(?<=\n\n)((?:    .*\n|\n(?=    ))+)")
_EPOLLO = re.compile(r"^\s*\$? *(?:python -m )?epollo +(.*)$", re.MULTILINE)
_INLINE = re.compile(r"`epollo +([^`]+)`")
_HEADING = re.compile(r"^#+ +(.*)$", re.MULTILINE)
_FILE = re.compile(r"# (\w+\.py)$", re.MULTILINE)
_LINK = re.compile(r"\]\(([^)\s]+)\)")


class Document:
    """One page."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.text = path.read_text()

    def __str__(self) -> str:
        return str(self.path.relative_to(ROOT))

    @cached_property
    def prose(self) -> str:
        """The page without its fenced and indented blocks."""
        return _INDENTED.sub("", _FENCED.sub("", self.text))

    @property
    def python_blocks(self) -> list[str]:
        return [code for language, code in _FENCED.findall(self.text) if language == "python"]

    @property
    def files(self) -> dict[str, str]:
        """Its Python blocks whose first line names a file, by that name."""
        named = ((_FILE.match(code), code) for code in self.python_blocks)
        return {name[1]: code for name, code in named if name}

    @property
    def module(self) -> str:
        """Its Python blocks as one module, in which each line has the number that it has here."""
        lines = [""] * (self.text.count("\n") + 1)
        for match in _FENCED.finditer(self.text):
            if match[1] == "python":
                first = self.text.count("\n", 0, match.start(2))
                code = match[2].splitlines()
                lines[first : first + len(code)] = code
        return "\n".join(lines)

    @property
    def commands(self) -> Iterator[list[str]]:
        """The words behind ``epollo`` of each command that a reader may type."""
        shell = [code for language, code in _FENCED.findall(self.text) if language == "sh"]
        shell += _INDENTED.findall(_FENCED.sub("", self.text))
        for block in shell:
            for line in _EPOLLO.findall(block.replace("\\\n", " ")):
                yield shlex.split(line, comments=True)
        for span in _INLINE.findall(self.prose):
            yield span.split()

    @property
    def links(self) -> Iterator[tuple[Path, str]]:
        """The file, and the heading in it or "", that each link within the repository names."""
        for link in _LINK.findall(self.prose):
            if not link.startswith("https://"):
                file, _, heading = link.partition("#")
                yield (self.path.parent / file if file else self.path), heading

    @property
    def anchors(self) -> set[str]:
        """What a link to a heading may name."""
        return {_anchor(heading) for heading in _HEADING.findall(_FENCED.sub("", self.text))}

    def rows(self, *columns: str) -> list[list[str]]:
        """The rows, cell by cell, of the tables whose first columns have these names."""
        rows: list[list[str]] = []
        wanted = False
        header = True
        for line in self.text.splitlines():
            if not line.startswith("|"):
                header = True
                continue
            cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
            if header:
                wanted, header = tuple(cells[: len(columns)]) == columns, False
            elif wanted and not set(line) <= set("|-: "):
                rows.append(cells)
        return rows


def check_commands(page: Document) -> None:
    """Every command named exists, and every flag of it."""
    for words in page.commands:
        _check_command(words, f"epollo {' '.join(words)}, in {page}")


def check_links(page: Document) -> None:
    """Every link leads to a file, and where it names a heading, to that."""
    for target, heading in page.links:
        assert target.exists(), f"{target}, in {page}"
        if heading:
            assert heading in Document(target).anchors, f"{target}#{heading}, in {page}"


def _check_command(words: list[str], where: str) -> None:
    command: click.Command = cli
    while words and isinstance(command, click.Group) and not words[0].startswith("-"):
        assert words[0] in command.commands, where
        _, found, words = command.resolve_command(click.Context(command), words)
        assert found is not None
        command = found
    flags = {flag for option in command.params for flag in option.opts} | {"-h", "--help"}
    for word in words[: words.index("|") if "|" in words else None]:
        assert not word.startswith("-") or word.partition("=")[0] in flags, f"{word} in: {where}"


def _anchor(heading: str) -> str:
    """What GitHub makes of a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
