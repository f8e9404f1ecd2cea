"""Two pages of Markdown that say the same in two languages: where one of them does not follow.

    python -m tests.translation  # compares each page in Chinese with the one in English

Section by section they have the same level, code (comments are translated), figures, `names`,
links, rows of tables and items of lists. A link to a page that is translated leads to its
translation; a page in Chinese may have more of these.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import zip_longest
from os.path import normpath
from pathlib import PurePosixPath

from markdown_it import MarkdownIt
from markdown_it.token import Token

from tests.documents import ROOT

_FIGURE = re.compile(r"\d+(?:[.,]\d+)*")
_COMMENT = re.compile(r"(?:(?<=\s)|^)# .*$", re.MULTILINE)
_SOURCE = re.compile(r'(?:src|srcset)="([^"]+)"')
_ALT = re.compile(r'alt="([^"]+)"')
_MARKDOWN = MarkdownIt("commonmark").enable("table")


def english_of(chinese: str) -> str:
    """The page that ``chinese`` translates. Both are paths from the root of the repository."""
    return "README.md" if chinese == "README.zh.md" else chinese.replace("docs/zh/", "docs/", 1)


CHINESE = [
    "README.zh.md",
    *sorted(str(page.relative_to(ROOT)) for page in (ROOT / "docs" / "zh").rglob("*.md")),
]
"""Every page in Chinese."""

TRANSLATED = {english_of(page): page for page in CHINESE}


@dataclass
class Section:
    """A heading, and what stands under it up to the next one."""

    level: int
    heading: str
    line: int
    code: Counter[str] = field(default_factory=Counter[str])
    figures: Counter[str] = field(default_factory=Counter[str])
    names: Counter[str] = field(default_factory=Counter[str])
    links: Counter[str] = field(default_factory=Counter[str])
    parts: Counter[str] = field(default_factory=Counter[str])

    def add_text(self, text: str) -> None:
        self.figures.update(_FIGURE.findall(text))

    def add_code(self, language: str, text: str) -> None:
        for comment in _COMMENT.findall(text):
            self.add_text(comment)
        bare = "\n".join(line.rstrip() for line in _COMMENT.sub("", text).splitlines())
        self.code[f"{language}\n{bare}".strip()] += 1


def sections(text: str, page: str) -> list[Section]:
    """The sections of ``page``, a path from the root, to which its links are relative."""
    found: list[Section] = []
    tokens = _MARKDOWN.parse(text)
    for token, after in zip(tokens, [*tokens[1:], None], strict=True):
        if token.type == "heading_open" and token.map and after:
            found.append(Section(int(token.tag[1]), after.content, token.map[0] + 1))
        elif found:
            _add(found[-1], token, page)
    return found


def _add(section: Section, token: Token, page: str) -> None:
    match token.type:
        case "fence" | "code_block":
            section.add_code(token.info, token.content)
        case "tr_open":
            section.parts["rows of tables"] += 1
        case "list_item_open":
            section.parts["items of lists"] += 1
        case "html_block":
            section.links.update(_target(link, page) for link in _SOURCE.findall(token.content))
            for text in _ALT.findall(token.content):
                section.add_text(text)
        case "inline":
            for child in token.children or ():
                _add(section, child, page)
        case "text":
            section.add_text(token.content)
        case "code_inline":
            section.names[token.content] += 1
        case "link_open":
            _add_link(section, str(token.attrs["href"]), page)
        case "image":
            section.links[_target(str(token.attrs["src"]), page)] += 1
            section.add_text(token.content)
        case _:
            pass


def _add_link(section: Section, link: str, page: str) -> None:
    target = _target(link, page)
    if target != english_of(page):  # else it leads to the other language
        section.links[target] += 1


def _target(link: str, page: str) -> str:
    """What a link leads to, in English; a heading has another name in each language."""
    if "://" in link:
        return link
    file, _, heading = link.partition("#")
    target = normpath(PurePosixPath(page).parent / file) if file else page
    english = english_of(target)
    return english if not heading or english in TRANSLATED else f"{english}#{heading}"


_COMPARED: dict[str, Callable[[Section], Counter[str]]] = {
    "code": lambda section: section.code,
    "figures": lambda section: section.figures,
    "names": lambda section: Counter(set(section.names)),  # how often, each language decides
    "links": lambda section: section.links,
    "parts": lambda section: section.parts,
}


def differences(english: list[Section], chinese: list[Section]) -> Iterator[str]:
    """What differs, a line for each; if sections are missing, the headings of both."""
    if [section.level for section in english] != [section.level for section in chinese]:
        pairs = zip_longest(map(_title, english), map(_title, chinese), fillvalue="")
        yield "other sections:" + "".join(f"\n    {ours:40}  {theirs}" for ours, theirs in pairs)
        return
    for ours, theirs in zip(english, chinese, strict=True):
        where = f"line {theirs.line}, {theirs.heading!r} ({ours.heading!r}, line {ours.line})"
        for what, of in _COMPARED.items():
            missing, extra = of(ours) - of(theirs), of(theirs) - of(ours)
            if what == "links":
                extra = Counter({link: n for link, n in extra.items() if link not in TRANSLATED})
            if missing:
                yield f"{where}: {what} in English only: {_listed(missing)}"
            if extra:
                yield f"{where}: {what} in Chinese only: {_listed(extra)}"


def _title(section: Section) -> str:
    return f"{'#' * section.level} {section.heading}"


def _listed(counter: Counter[str]) -> str:
    if any("\n" in name for name in counter):
        return "".join(f"\n{name}" for name in counter)
    return ", ".join(f"{name} x {n}" if n > 1 else name for name, n in counter.items())


def compared(chinese: str) -> str:
    """What is to be changed in a page in Chinese, or ""."""
    english = english_of(chinese)
    found = "\n".join(
        f"  {difference}"
        for difference in differences(
            sections((ROOT / english).read_text(), english),
            sections((ROOT / chinese).read_text(), chinese),
        )
    )
    return found and (
        f"{chinese} does not say what {english} says. Change {chinese}, at\n{found}\n"
        "In code, only the comments may differ. Terms: docs/glossary.md."
    )


def main() -> int:
    found = [text for page in CHINESE if (text := compared(page))]
    print(*found, sep="\n\n", end="\n" if found else "")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
