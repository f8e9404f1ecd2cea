"""The documentation site: `make docs`.

The root of the repository is the root of its pages, too: a link between two pages works on a forge
and on the site.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "src")]

import epollo  # noqa: E402

project = "epollo"
author = "The epollo developers"
copyright = author  # noqa: A001
version = release = epollo.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx_copybutton",
    "docs.site.contents",
    "docs.site.sources",
    "docs.site.commands",
    "docs.site.diagrams",
    "docs.site.docstrings",
    "docs.site.languages",
]

root_doc = "README"
include_patterns = ["*.md", "docs/**", "examples/**", "fuzz/*.md", "benchmarks/**"]
exclude_patterns = [".*", "**/build", "dist", "src", "tests", "docs/site"]
templates_path = ["templates"]

myst_heading_anchors = 6
nitpicky = True
smartquotes = False  # --rate is not a dash
default_role = "code"  # backticks in docstrings are code, as they are in Markdown

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
python_maximum_signature_line_length = 90

html_theme = "furo"
html_title = f"epollo {version}"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_additional_pages = {"index": "index.html"}
html_copy_source = False
html_show_sphinx = False
pygments_style = "friendly"
pygments_dark_style = "monokai"
copybutton_exclude = ".linenos, .gp, .go"
