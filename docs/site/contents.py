"""The table of contents of the site: what docs/README.md lists, under the same headings.

So there is one list of all pages, which a forge shows too, and a new page is found as soon as it is
linked there.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

LIST = "docs/README"
README = "README"

_HEADING = re.compile(r"^## +(.*)$")
_ENTRY = re.compile(r"^- \[(.*?)\]\(([^)#]+)\.(?:md|rst)\)")
_PICTURE = re.compile(
    r'<picture>\s*<source media="\(prefers-color-scheme: dark\)" srcset="(?P<dark>[^"]+)">\s*'
    r'<img src="(?P<light>[^"]+)" alt="(?P<text>[^"]+)">\s*</picture>'
)


def chapters(text: str) -> Iterator[tuple[str, list[str]]]:
    """Each heading of docs/README.md, and the pages that it lists: `NAME </PATH>`."""
    heading = ""
    pages: list[str] = []
    for line in text.splitlines():
        if found := _HEADING.match(line):
            if pages:
                yield heading, pages
            heading, pages = found[1], []
        elif entry := _ENTRY.match(line):
            pages.append(f"{entry[1]} </{posixpath.normpath(f'docs/{entry[2]}')}>")
    if pages:
        yield heading, pages


def _add_contents(app: Sphinx, page: str, source: list[str]) -> None:
    source[0] = _PICTURE.sub(_two_pictures, source[0])
    if page == README:
        path = Path(app.srcdir) / f"{LIST}.md"
        app.env.note_dependency(path)
        trees = [
            _tree("", [f"/{LIST}"]),
            *(_tree(*each) for each in chapters(path.read_text("utf-8"))),
        ]
        source[0] = "\n\n".join([source[0], *trees])


def _tree(heading: str, pages: list[str]) -> str:
    caption = [f":caption: {heading}"] if heading else []
    return "\n".join(["```{toctree}", ":hidden:", *caption, "", *pages, "```"])


def _two_pictures(found: re.Match[str]) -> str:
    """What a browser chooses by its own colours is chosen by those of the page."""
    return "\n\n".join(
        f"```{{image}} {found[kind]}\n:alt: {found['text']}\n:class: only-{kind}\n```"
        for kind in ("light", "dark")
    )


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("source-read", _add_contents)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
