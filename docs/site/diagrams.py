"""Diagrams of states, which a forge draws (```mermaid), are tables here.

To draw them, a page would load a program from another site.
"""

from __future__ import annotations

import re
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform

_ARROW = re.compile(r"^ *(\S+) --> (\S+)(?: : (.*))?$", re.MULTILINE)
_END = "[*]"


class DiagramToTable(SphinxTransform):
    """A row for each arrow: from, to, when."""

    default_priority = 200

    def apply(self, **_: Any) -> None:
        for block in list(self.document.findall(nodes.literal_block)):
            if block.get("language") == "mermaid":
                block.replace_self(_table(_ARROW.findall(block.astext())))


def _table(arrows: list[tuple[str, str, str]]) -> nodes.table:
    rows = [_row(start, end, when) for start, end, when in arrows if _END not in (start, end)]
    group = nodes.tgroup(
        "",
        *(nodes.colspec(colwidth=1) for _ in range(3)),
        nodes.thead("", _row("from", "to", "when")),
        nodes.tbody("", *rows),
        cols=3,
    )
    return nodes.table("", group)


def _row(*cells: str) -> nodes.row:
    return nodes.row("", *(nodes.entry("", nodes.paragraph("", cell)) for cell in cells))


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_transform(DiagramToTable)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
