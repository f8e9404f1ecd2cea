"""The language of a page, for browsers: it decides on fonts, spaces and the shape of characters."""

from __future__ import annotations

from typing import Any

from docutils import nodes
from sphinx.application import Sphinx

CHINESE = "zh-CN"


def language(page: str) -> str:
    """The tag (BCP 47) of a page's language."""
    return CHINESE if page == "README.zh" or page.startswith("docs/zh/") else "en"


def _set_language(
    app: Sphinx, page: str, template: str, context: dict[str, Any], document: nodes.document | None
) -> None:
    context["language"] = language(page)


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("html-page-context", _set_language)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
