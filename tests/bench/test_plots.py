"""The pictures of results: what is in them, and that any result has them.

matplotlib is imported by the tests, not with this file: see tests/lab/test_pictures.py.
"""

from __future__ import annotations

import importlib.util
import math
import struct
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING
from xml.parsers import expat

import pytest

from epollo.bench.output import plots
from epollo.bench.results.histogram import Histogram
from epollo.bench.results.result import Result
from epollo.errors import EpolloError, UsageError
from tests.bench.scenes import SCENES, STALL, overloaded, pair, ramp, stalled
from tests.bench.support import made_up

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

    from epollo.bench.output.pictures.panels import Panel


@pytest.fixture(scope="module", autouse=True)
def fonts(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Open the fonts: matplotlib keeps their files open for as long as the process lives."""
    pytest.importorskip("matplotlib")
    plots.write(str(tmp_path_factory.mktemp("fonts") / "fonts.png"), [made_up()])


def drawn(results: Sequence[Result]) -> dict[str, tuple[Panel, Axes]]:
    """All panels, on axes of their own."""
    from matplotlib.figure import Figure

    from epollo.bench.output.pictures.panels import panels

    found = {}
    for panel in panels(results):
        axes = Figure().add_axes((0.1, 0.1, 0.7, 0.8))
        panel.draw(axes)
        found[panel.name] = panel, axes
    return found


def line(axes: Axes, name: str) -> dict[float, float]:
    """The points of the line at whose end that name stands."""
    names = sorted((text.get_position()[1], text.get_text()) for text in axes.texts)
    colours = [each.get_color() for each in axes.lines[-len(names) :]]
    colour = colours[[text for _, text in names].index(name)]
    found = next(each for each in axes.lines if each.get_color() == colour)
    return dict(points(found))


def points(of: Line2D) -> list[tuple[float, float]]:
    """As plain numbers."""
    import numpy as np

    x, y = (np.asarray(values, float).tolist() for values in of.get_data())
    return list(zip(x, y, strict=True))


def names(axes: Axes) -> set[str]:
    return {text.get_text() for text in axes.texts}


def empty() -> Result:
    nothing = Histogram()
    return replace(
        made_up(), seconds=[], response=nothing, service=nothing, slip=nothing, elapsed=0.0,
        answered=[], connect=nothing, first_reply=nothing, sent=0, errors={"connect_refused": 3},
    )  # fmt: skip


@pytest.mark.parametrize("scene", SCENES)
def test_a_png(scene: str, tmp_path: Path) -> None:
    path = tmp_path / "bench.png"
    plots.write(str(path), SCENES[scene](), ["a.json", "b.json"])
    data = path.read_bytes()
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = struct.unpack(">II", data[16:24])
    assert width == 1800
    assert height > 900


def test_an_svg_keeps_names_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "bench.SVG"
    plots.write(str(path), pair(), ["<script>&$x_1$", "b\\frac{.json"])
    parser = expat.ParserCreate()
    elements: list[str] = []
    parser.StartElementHandler = lambda name, _: elements.append(name)
    parser.Parse(path.read_bytes(), True)
    assert elements[0] == "svg"
    assert "script" not in elements


def test_what_cannot_be_written_is_told_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UsageError, match=r"^--plot x\.jpg: the name must end in \.png or \.svg$"):
        plots.write("x.jpg", [made_up()])
    with pytest.raises(EpolloError, match=r"^--plot /nowhere/x\.png: there is no directory"):
        plots.write("/nowhere/x.png", [made_up()])
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(UsageError, match=r"^--plot needs matplotlib: pip install 'epollo\[plot\]'"):
        plots.write(str(tmp_path / "x.png"), [made_up()])


def test_a_run_without_a_message_has_no_panels_but_a_sheet(tmp_path: Path) -> None:
    assert drawn([empty()]) == {}
    plots.write(str(tmp_path / "empty.png"), [empty()])
    both = drawn([empty(), made_up()])
    assert set(both) == {"spectrum", "rate", "p50", "p99"}
    assert names(both["spectrum"][1]) == {"B"}


def test_a_run_of_one_message_is_drawn(tmp_path: Path) -> None:
    plots.write(str(tmp_path / "one.png"), [made_up(seconds=1, per_second=1, connections=1)])


def test_the_spectrum_has_the_percentiles_of_the_histogram() -> None:
    result = made_up(per_second=2000)
    _, axes = drawn([result])["spectrum"]
    found = line(axes, "response")
    assert axes.get_xscale() == "log"
    *inner, last = found.items()
    for x, y in inner:
        percent = 100 * (1 - 1 / x)
        assert y == pytest.approx(result.response.percentile(percent) / 1e9, rel=0.01)
    assert last[0] == pytest.approx(result.response.total)
    assert last[1] == result.response.maximum / 1e9
    ticks = [text.get_text() for text in axes.get_xticklabels()]
    assert ticks == ["0", "50", "90", "99", "99.9", "99.99"]


def test_the_median_is_in_the_picture_however_long_the_tail() -> None:
    tailed = made_up(lambda chance, _: 1e5 if chance.random() < 0.9 else 1e9 * chance.random())
    _, axes = drawn([tailed])["spectrum"]
    assert axes.get_ylim()[0] < 1e-4


def test_there_are_no_more_nines_than_have_room() -> None:
    from epollo.bench.output.pictures.panels import percentile_of, percentile_ticks

    def ticks(count: int) -> list[str]:
        return [percentile_of(x) for x in percentile_ticks(count)]

    assert ticks(1) == ticks(50) == ["0", "50", "90"]
    assert ticks(10_000) == ["0", "50", "90", "99", "99.9", "99.99"]
    assert ticks(9_999_999) == ["0", "90", "99.9", "99.999"]
    assert ticks(10**7) == ["0", "90", "99.9", "99.999", "99.99999"]


def test_an_open_loop_shows_service_and_slip_too() -> None:
    assert names(drawn([made_up()])["spectrum"][1]) == {"response"}
    open_loop = drawn([made_up(rate=1000)])
    assert names(open_loop["spectrum"][1]) == {"response", "service", "slip"}
    assert names(open_loop["rate"][1]) == {"rate", "target"}


def test_a_latency_axis_is_logarithmic_where_it_spans_a_decade() -> None:
    even = made_up(lambda chance, _: 1e6 + chance.random() * 1e6)
    assert drawn([even])["latency"][1].get_yscale() == "linear"
    assert drawn([stalled()])["latency"][1].get_yscale() == "log"


def test_a_stall_is_where_it_was() -> None:
    found = drawn([stalled()])
    worst = line(found["latency"][1], "p99")
    assert max(worst, key=lambda x: worst[x]) == STALL + 0.5
    waiting = line(found["outstanding"][1], "waiting")
    assert waiting[float(STALL)] == 900
    assert waiting[float(STALL + 5)] == 2


def test_a_second_without_messages_is_a_gap() -> None:
    result = made_up(seconds=3)
    silent = replace(result.seconds[1], response=Histogram(), messages=0)
    holed = replace(result, seconds=[result.seconds[0], silent, result.seconds[2]])
    found = line(drawn([holed])["latency"][1], "p50")
    assert [math.isnan(y) for y in found.values()] == [False, True, False]


def test_a_mere_rest_at_the_end_has_no_rate() -> None:
    result = made_up(seconds=3)
    last = replace(result.seconds[0], start=3.0, seconds=0.001)
    found = line(drawn([replace(result, seconds=[*result.seconds, last])])["rate"][1], "rate")
    assert set(found.values()) == {1000.0}


def test_errors_have_a_panel_where_there_are_any() -> None:
    result = overloaded()
    errors = line(drawn([result])["errors"][1], "errors")
    assert list(errors.values())[-1] == result.seconds[-1].errors
    assert "errors" not in drawn([made_up()])
    assert "outstanding" not in drawn([made_up()])


def test_latency_against_rate_groups_seconds_by_their_target() -> None:
    from epollo.bench.output.pictures.panels import groups

    steps = made_up(seconds=6, rate="1k/2s,2k/4s")
    low, high = groups(steps)
    assert (low.target, low.response.total, high.target, high.response.total) == (
        1000, 2000, 2000, 4000,
    )  # fmt: skip
    assert (low.reached, high.reached) == (True, False)
    assert groups(made_up(rate="1k")) == []
    assert groups(made_up()) == []
    many = groups(ramp())
    assert len(many) == 16
    assert sum(group.response.total for group in many) == ramp().response.total


def test_a_target_that_was_missed_is_hollow_and_the_note_says_so() -> None:
    panel, axes = drawn([ramp()])["ramp"]
    assert "hollow" in panel.note
    hollow = [each for each in axes.lines if each.get_markerfacecolor() == "white"]
    assert all(x > 34_000 for each in hollow for x, _ in points(each))
    kept = drawn([made_up(seconds=4, rate="500/2s,1k/2s")])["ramp"]
    assert "reached throughout" in kept[0].note


def test_several_runs_lie_upon_each_other_and_no_two_look_alike() -> None:
    found = drawn([*pair(), ramp()])
    assert names(found["spectrum"][1]) == {"A", "B", "C"}
    assert names(found["rate"][1]) == {"A", "B", "C", "target"}
    assert names(found["ramp"][1]) == {"C"}
    from epollo.bench.output.pictures.lines import style_of

    assert len({style_of(n) for n in range(25)}) == 25


def test_names_are_far_enough_from_each_other() -> None:
    from epollo.bench.output.pictures.lines import SOLID, Line, spread

    lines = [(height, Line(str(height), [], [], "", SOLID)) for height in (0.5, 0.5, 0.98, 1.0)]
    places = [place for place, _ in spread(lines)]
    assert places == sorted(places)
    assert all(b - a > 0.08 for a, b in pairwise(places))
    assert places[-1] == 1.0
