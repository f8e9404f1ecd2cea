"""What Sphinx does not check of the built site: that every link and anchor in its pages leads
somewhere, and that every public name is in the reference. `python -m docs.site.check FOLDER`."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

from sphinx.util.inventory import InventoryFile

PUBLIC = (
    "epollo",
    "epollo.bench",
    "epollo.client",
    "epollo.engine",
    "epollo.framing",
    "epollo.testing",
)
"""Modules whose `__all__` is public: docs/versioning.md."""


class Page(HTMLParser):
    """What a page links to, and what in it can be linked to."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in ("id", "name") and value:
                self.anchors.add(value)
            elif name in ("href", "src") and value:
                self.links.append(value)


page = cache(Page)


def broken_links(site: Path) -> Iterator[str]:
    for path in sorted(site.rglob("*.html")):
        for link in page(path).links:
            if (wrong := _wrong(link, path)) is not None:
                yield f"{path.relative_to(site)}: {link}: {wrong}"


def _wrong(link: str, path: Path) -> str | None:
    """Why ``link`` leads nowhere, or None. Links to other sites are not followed."""
    parts = urlsplit(link)
    if parts.scheme or parts.netloc:
        return None
    target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
    if not target.is_file():
        return "no such file"
    if not parts.fragment or target.suffix != ".html":
        return None
    return None if unquote(parts.fragment) in page(target).anchors else "no such anchor"


def missing_names(site: Path) -> Iterator[str]:
    inventory = InventoryFile.loads((site / "objects.inv").read_bytes(), uri="")
    known = {
        name for kind, names in inventory.data.items() if kind.startswith("py:") for name in names
    }
    for module in PUBLIC:
        for name in importlib.import_module(module).__all__:
            errors = f"epollo.errors.{name}"  # each is `epollo.NAME`, too
            if not {f"{module}.{name}", f"epollo.{name}", errors} & known:
                yield f"{module}.{name}: not in the reference of the API; add it to docs/api"


def missing_options(site: Path) -> Iterator[str]:
    """Options that the reference of the command line does not have: one of each kind of command."""
    text = (site / "docs" / "api" / "commands.html").read_text(encoding="utf-8")
    for option in ("--max-unsent", "--find-rate", "--sort", "--fail-if", "--backlog"):
        if option not in text:
            yield f"{option}: not in the reference of the command line"


def main() -> None:
    site = Path(sys.argv[1])
    wrong = [*broken_links(site), *missing_names(site), *missing_options(site)]
    print(*wrong, sep="\n", end="\n" if wrong else "")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
