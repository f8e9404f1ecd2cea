"""Pages of code, for the files that others link to and that are not pages, such as modules."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Any

from docutils import nodes
from pygments.lexers import get_lexer_for_filename
from pygments.util import ClassNotFound
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.transforms.post_transforms import SphinxPostTransform

FOLDER = "source"  # of these pages in the site


class LinkToSource(SphinxPostTransform):
    """Links to files, which MyST takes for downloads, and to folders, which it does not know."""

    default_priority = 5  # before references are resolved

    def run(self, **_: Any) -> None:
        for node in [
            *self.document.findall(addnodes.download_reference),
            *self.document.findall(addnodes.pending_xref),
        ]:
            if node.get("reftype") == "myst" and node.get("refdomain") is None:
                self._link(node)

    def _link(self, node: nodes.Element) -> None:
        name, file = self.env.relfn2path(node["reftarget"], self.env.docname)
        path = Path(file)
        if not path.exists() or not path.resolve().is_relative_to(self.env.srcdir):
            return
        if _is_picture(path):
            return  # which is a download
        name = posixpath.normpath(name)
        _linked(self.env).add(name)
        target = self.app.builder.get_relative_uri(self.env.docname, f"{FOLDER}/{name}")
        node.replace_self(nodes.reference("", "", *node.children, internal=True, refuri=target))


def _is_picture(path: Path) -> bool:
    return path.suffix in (".png", ".svg")


def _linked(env: BuildEnvironment) -> set[str]:
    found: set[str] = vars(env).setdefault("linked_sources", set())
    return found


def _pages(app: Sphinx) -> Iterator[tuple[str, dict[str, Any], str]]:
    for name in sorted(_linked(app.env)):
        path = Path(app.srcdir) / name
        body = _listing(path) if path.is_dir() else _code(app, path)
        title = f"{name}/" if path.is_dir() else name
        yield (
            f"{FOLDER}/{name}",
            {"title": title, "body": f"<h1>{escape(title)}</h1>{body}"},
            "page.html",
        )


def _listing(folder: Path) -> str:
    names = sorted(
        each.name + ("/" if each.is_dir() else "")
        for each in folder.iterdir()
        if not each.name.startswith(("__pycache__", "."))
    )
    return "<ul>" + "".join(f"<li><code>{escape(name)}</code></li>" for name in names) + "</ul>"


def _code(app: Sphinx, path: Path) -> str:
    """A file of text, highlighted."""
    try:
        language = get_lexer_for_filename(path.name).aliases[0]
    except ClassNotFound:
        language = "text"
    highlighter: Any = app.builder.highlighter  # type: ignore[attr-defined]
    return str(highlighter.highlight_block(path.read_text(encoding="utf-8"), language, force=True))


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_post_transform(LinkToSource)
    app.connect("html-collect-pages", _pages)
    return {"parallel_read_safe": True, "parallel_write_safe": False}
