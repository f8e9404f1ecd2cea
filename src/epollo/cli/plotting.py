"""The common style of all plots. Imports matplotlib, which is optional."""

from __future__ import annotations

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from epollo.causes import cause_of
from epollo.cli.replacing import replacing
from epollo.errors import EpolloError

WIDTH = 9.0  # inches; 900 pixels in a README
DPI = 200  # twice that, for sharp screens

# The colours of Okabe and Ito, which colour-blind people can distinguish.
BLUE, ORANGE, GREEN, RED, PINK = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7"
INK, QUIET, FAINT = "#222222", "#666666", "#DDDDDD"


def new_figure(height: float, title: str, subtitle: str, footer: str) -> Figure:
    """A figure with title and subtitle above and ``footer`` below; ``height`` in inches."""
    figure = Figure(figsize=(WIDTH, height), facecolor="white")
    figure.text(0.02, 1 - 0.2 / height, title, size=14, weight="bold", color=INK, va="top")
    figure.text(0.02, 1 - 0.5 / height, subtitle, size=10.5, color=QUIET, va="top")
    figure.text(0.02, 0.08 / height, footer, size=7.5, color=QUIET, va="bottom")
    return figure


def quiet(axes: Axes) -> None:
    """Reduce the frame of the axes."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(FAINT)
    axes.tick_params(colors=QUIET, labelsize=9.5, which="both", length=0)


def save(figure: Figure, path: str) -> None:
    """Write PNG or SVG, by the suffix. Raises EpolloError if the file cannot be written."""
    try:
        with replacing(path) as new:
            figure.savefig(new, dpi=DPI, format=Path(path).suffix[1:].lower())
    except OSError as error:
        raise EpolloError(f"cannot write {path}: {cause_of(error)}") from error
