"""A panel as SVG inside a page, with text as text, and the colours of the page.

Imports matplotlib, which is optional. The page defines the CSS variables of ``VARIABLES``, so the
picture fits a light and a dark page.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any
from xml.etree import ElementTree as ET
from xml.etree.ElementTree import Element

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
_OF_A_FILE = frozenset({"metadata", "style"})  # elements that a picture in a page does without
_COLOURS = {colour.lower(): f"var({variable})" for colour, variable in VARIABLES.items()}


def svg(panel: Panel) -> str:
    """The panel as an ``<svg>`` element, with ids that are unique in the page."""
    settings: Any = {"svg.fonttype": "none", "svg.hashsalt": panel.name, "text.parse_math": False}
    stream = io.BytesIO()
    with rc_context(settings):
        figure = Figure(figsize=_SIZE, facecolor="none")
        axes = figure.add_axes(_AXES)
        axes.set_facecolor("none")
        panel.draw(axes)
        figure.savefig(stream, format="svg", metadata=_NO_METADATA)
    return _inlined(ET.fromstring(stream.getvalue()), panel)  # noqa: S314 (matplotlib's)


def _inlined(root: Element, panel: Panel) -> str:
    """Only the element, without the parts that belong to an SVG file."""
    used = {name for each in root.iter() for name in _references(each)}
    for element in root.iter():
        _rewrite(element, panel.name, used)
    root.attrib = {
        "viewBox": root.attrib["viewBox"],
        "role": "img",
        "aria-label": panel.title,
    }
    return ET.tostring(root, encoding="unicode")


def _rewrite(element: Element, prefix: str, used: set[str]) -> None:
    """Turn an element of an SVG file into one of a page: without namespaces and fonts, with
    variables for colours, and only with the ids in ``used``, which then begin with ``prefix``."""
    for child in list(element):
        if _local(child.tag) in _OF_A_FILE:
            element.remove(child)
    element.tag = _local(element.tag)
    given = {_local(name): value for name, value in element.attrib.items()}
    if given.get("id") not in used:
        given.pop("id", None)
    element.attrib = {name: _attribute(name, value, prefix) for name, value in given.items()}


def _local(name: str) -> str:
    """``name`` without its namespace."""
    return name.rpartition("}")[2]


def _attribute(name: str, value: str, prefix: str) -> str:
    """The value of an attribute, as a page has it."""
    if name == "style":
        declarations = [part.strip().partition(": ") for part in value.split(";")]
        # The page's font is used instead; it is not wider.
        kept = [(key, of) for key, _, of in declarations if of and not key.startswith("font")]
        return "; ".join(f"{key}: {_COLOURS.get(of.lower(), of)}" for key, of in kept)
    if name == "id":
        return f"{prefix}-{value}"
    referred = _referred(name, value)
    return value.replace(f"#{referred}", f"#{prefix}-{referred}") if referred else value


def _references(element: Element) -> Iterator[str]:
    """The ids to which an element refers."""
    for name, value in element.attrib.items():
        if referred := _referred(_local(name), value):
            yield referred


def _referred(name: str, value: str) -> str:
    """The id to which an attribute refers; empty if to none."""
    if name == "href":
        return value.removeprefix("#")
    inside = value.removeprefix("url(#")
    return inside.removesuffix(")") if inside != value else ""
