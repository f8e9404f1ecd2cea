"""A panel as SVG inside a page, with text as text, and the colours of the page.

Imports matplotlib, which is optional. The page defines the CSS variables of ``VARIABLES``, so the
picture fits a light and a dark page.
"""

from __future__ import annotations

import html
import io
import re
from typing import Any

from matplotlib import rc_context
from matplotlib.figure import Figure

from epollo.bench.output.pictures.panels import Panel
from epollo.cli.plotting import BLUE, FAINT, GREEN, INK, ORANGE, PINK, QUIET, RED

VARIABLES = {
    BLUE: "--blue",
    ORANGE: "--orange",
    GREEN: "--green",
    RED: "--red",
    PINK: "--pink",
    INK: "--ink",
    QUIET: "--quiet",
    FAINT: "--faint",
    "#FFFFFF": "--paper",
}
_SIZE = (5.0, 3.1)  # inches; 360 by 223 units, about the pixels of a phone
_AXES = (0.13, 0.165, 0.62, 0.8)  # of the picture, with space for tick labels and names
_NO_METADATA = {"Creator": None, "Date": None, "Format": None, "Type": None}
_FONT = re.compile(r"font(-\w+)?: [^;\"]*;? ?")  # replaced by the page's font, which is not wider
_ID = re.compile(r' id="([^"]*)"')


def svg(panel: Panel) -> str:
    """The panel as an ``<svg>`` element, with ids that are unique in the page."""
    settings: Any = {"svg.fonttype": "none", "svg.hashsalt": panel.name, "text.parse_math": False}
    stream = io.StringIO()
    with rc_context(settings):
        figure = Figure(figsize=_SIZE, facecolor="none")
        axes = figure.add_axes(_AXES)
        axes.set_facecolor("none")
        panel.draw(axes)
        figure.savefig(stream, format="svg", metadata=_NO_METADATA)
    return _inlined(stream.getvalue(), panel)


def _inlined(text: str, panel: Panel) -> str:
    """Only the element, without the parts that belong to an SVG file."""
    _, _, body = text[text.index("<svg") :].partition(">")
    body = re.sub(r"<style.*?</style>|<metadata>.*?</metadata>|<!--.*?-->", "", body, flags=re.S)
    body = _FONT.sub("", body).replace("xlink:href", "href")
    for colour, variable in VARIABLES.items():
        body = body.replace(colour.lower(), f"var({variable})")
    box = f"0 0 {_SIZE[0] * 72:g} {_SIZE[1] * 72:g}"
    label = html.escape(panel.title)
    return f'<svg viewBox="{box}" role="img" aria-label="{label}">{_renamed(body, panel.name)}'


def _renamed(body: str, prefix: str) -> str:
    """Keep only the ids that are referred to, and let them begin with ``prefix``."""
    used = {name for name in _ID.findall(body) if f"#{name}" in body}
    body = _ID.sub(lambda m: f' id="{prefix}-{m[1]}"' if m[1] in used else "", body)
    return re.sub(r'(url\(#|href="#)', rf"\g<1>{prefix}-", body)
