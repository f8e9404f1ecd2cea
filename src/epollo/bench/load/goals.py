"""How precisely a run is to know its figures before it ends: ``p99±5%``."""

from __future__ import annotations

import re
from dataclasses import dataclass

from epollo.errors import SettingError

SHORTEST = 20  # seconds of a window; in a shorter one, chance may look like precision
_FINEST = 0.002  # of a time, which the histogram knows to a thousandth
_SPANS = ("response", "service", "slip")
_EXAMPLE = "write one such as p99±5% or mean±2%"
_GOAL = re.compile(r"\s*([\w.]+)\s*(?:±|\+-|\+/-)\s*(.+?)\s*")
_FIGURE = re.compile(r"(?:(response|service|slip)\.)?(?:p(\d+(?:\.\d+)?)|(mean))")
_WITHOUT_ERROR = ("min", "max", "sd")  # the seconds of a run do not show how far off they are


@dataclass(frozen=True, slots=True)
class Goal:
    """A figure, and how precisely it is to be known.

    Attributes:
        text: the goal as the user wrote it.
        figure: the name of the figure: ``p99``, ``mean``, ``service.p50``, ``rate``.
        span: the histogram that it is of: response, service or slip; empty for ``rate``.
        percent: of a percentile; None for another figure.
        within: how far the bounds of its 95 % interval may be from it, as a part of it.
    """

    text: str
    figure: str
    span: str
    percent: float | None
    within: float


def parse_goals(text: str) -> tuple[Goal, ...]:
    """The goals in ``text``: one, or several with commas: ``p99±5%,mean±2%``; none if it is empty.
    ``+-`` is the same as ``±``.

    Figures are ``p99`` or another percentile and ``mean``, of the response time, or with
    ``service.`` or ``slip.`` before it; and ``rate``. Raises SettingError that names the fix.
    """
    return tuple(_goal(part.strip()) for part in text.split(",")) if text else ()


def _goal(text: str) -> Goal:
    match = _GOAL.fullmatch(text)
    if match is None:
        raise SettingError(f"until: {text!r} does not say how precisely; {_EXAMPLE}")
    name, width = match.groups()
    within = _part(text, width)
    if name == "rate":
        return Goal(text, name, "", None, within)
    figure = _FIGURE.fullmatch(name)
    if figure is None:
        raise SettingError(f"until: {text!r}: {_refusal(name)}")
    span, percent, _ = figure.groups()
    if percent is not None and not 0 < float(percent) < 100:
        raise SettingError(f"until: {text!r}: {_refusal(name)}")
    if within < _FINEST:
        raise SettingError(
            f"until: {text!r}: times are known to 0.1 %; write ±{100 * _FINEST:g}% or more"
        )
    number = None if percent is None else float(percent)
    return Goal(text, name, span or "response", number, within)


def _part(text: str, width: str) -> float:
    number = re.fullmatch(r"(\d+(?:\.\d+)?)\s*%", width)
    if number is None:
        raise SettingError(f"until: {text!r}: {width!r} is not a part in percent; {_EXAMPLE}")
    within = float(number[1]) / 100
    if not 0 < within < 1:
        raise SettingError(f"until: {text!r}: must be above 0 % and below 100 %; {_EXAMPLE}")
    return within


def _refusal(name: str) -> str:
    which = name.rpartition(".")[2]
    if which in _WITHOUT_ERROR or which in ("p100", "p0"):
        return f"one run does not show how precise {name} is; use a percentile, mean or rate"
    return f"no figure {name!r} to be precise about; use p99 or another percentile, mean or rate"
