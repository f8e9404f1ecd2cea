"""Docstrings as reStructuredText, and the references in them and in signatures."""

from __future__ import annotations

import importlib
import re
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.ext.napoleon import Config
from sphinx.ext.napoleon.docstring import GoogleDocstring

_ATTRIBUTES: Any = Config(napoleon_use_ivar=True)
_COLON = re.compile(r"[^:]:$")
_SEVERAL = re.compile(r"^:ivar (\w+(?:, \w+)+):(.*\n(?: .*\n)*)", re.MULTILINE)


def _process(app: Sphinx, what: Any, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    _mark_blocks(lines)
    if what in ("class", "exception", "function", "method"):  # others begin "So and so: more"
        text = str(GoogleDocstring(lines, _ATTRIBUTES, app, what, name, thing, options))
        lines[:] = _SEVERAL.sub(_one_each, text).split("\n")


def _one_each(several: re.Match[str]) -> str:
    """A field for each of the names that a text is about."""
    return "".join(f":ivar {name}:{several[2]}" for name in several[1].split(", "))


def _mark_blocks(lines: list[str]) -> None:
    """An indented block behind a colon is code."""
    for number in range(len(lines) - 2):
        line, gap, block = lines[number : number + 3]
        if _COLON.search(line) and not gap and block.startswith(_indent(line) + "    "):
            lines[number] = f"{line}:"


def _indent(line: str) -> str:
    return line[: len(line) - len(line.lstrip())]


def _resolve(
    app: Sphinx, env: BuildEnvironment, node: addnodes.pending_xref, content: nodes.Element
) -> nodes.Element | None:
    """What exists and has no page here, such as the classes of Python itself, is no broken link."""
    if node.get("refdomain") == "py" and _exists(node["reftarget"]):
        return content
    return None


def _exists(path: str) -> bool:
    module, _, name = path.rpartition(".")
    try:
        return hasattr(importlib.import_module(module or "builtins"), name)
    except (ImportError, ValueError):
        return False


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("autodoc-process-docstring", _process)
    app.connect("missing-reference", _resolve)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
