"""The pictures: valid files, and titles that say what was found.

matplotlib is imported by the tests, not with this file: its objects, alive while all other tests
run, would slow the search for what each of them leaves behind.
"""

from __future__ import annotations

import struct
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from xml.parsers import expat

import pytest

from epollo.errors import EpolloError
from epollo.lab.backlog import BacklogResult
from epollo.lab.claims import Holds, Verdict
from epollo.lab.clients import Attempt
from epollo.lab.comparison import Comparison
from epollo.lab.machine import this_machine
from epollo.lab.pollers import PollersResult, WakeUp

if TYPE_CHECKING:
    from matplotlib.figure import Figure

GROWS = [Verdict(1, Holds.YES, ""), Verdict(2, Holds.YES, "")]
UNSEEN = [Verdict(1, Holds.YES, ""), Verdict(2, Holds.UNKNOWN, "")]


@pytest.fixture(scope="module", autouse=True)
def fonts(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Open the fonts: matplotlib keeps their files open for as long as the process lives."""
    pytest.importorskip("matplotlib")
    from epollo.cli.plotting import new_figure

    figure = new_figure(5, "title", "subtitle", "footer")
    save(figure, str(tmp_path_factory.mktemp("fonts") / "fonts.png"))


def draw_pollers(result: PollersResult, verdicts: list[Verdict]) -> Figure:
    from epollo.lab.pollers_plot import plot_pollers

    return plot_pollers(result, this_machine(), verdicts)


def draw_backlog(result: BacklogResult) -> Figure:
    from epollo.lab.backlog_plot import plot_backlog

    return plot_backlog(result, this_machine())


def draw_peers(result: Comparison) -> Figure:
    from epollo.lab.peers_plot import plot_peers

    return plot_peers(result, this_machine())


def save(figure: Figure, path: str) -> None:
    from epollo.cli import plotting

    plotting.save(figure, path)


def title(figure: Figure) -> str:
    return figure.texts[0].get_text()


def check_png(path: Path) -> None:
    data = path.read_bytes()
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    assert data[-8:-4] == b"IEND"
    width, height = struct.unpack(">II", data[16:24])
    assert width == 1800
    assert height > 600  # with a row for each peer that is installed: epollo's own are two


def check_svg(path: Path) -> None:
    elements: list[str] = []
    parser = expat.ParserCreate()
    parser.StartElementHandler = lambda name, _: elements.append(name)
    parser.Parse(path.read_bytes(), True)
    assert elements[0] == "svg"


def test_pollers(pollers_result: PollersResult, tmp_path: Path) -> None:
    figure = draw_pollers(pollers_result, UNSEEN)
    save(figure, str(tmp_path / "pollers.png"))
    save(figure, str(tmp_path / "pollers.svg"))
    check_png(tmp_path / "pollers.png")
    check_svg(tmp_path / "pollers.svg")


def test_backlog(backlog_result: BacklogResult, tmp_path: Path) -> None:
    figure = draw_backlog(backlog_result)
    save(figure, str(tmp_path / "backlog.png"))
    save(figure, str(tmp_path / "backlog.SVG"))
    check_png(tmp_path / "backlog.png")
    check_svg(tmp_path / "backlog.SVG")


def test_peers(comparison_result: Comparison, tmp_path: Path) -> None:
    figure = draw_peers(comparison_result)
    save(figure, str(tmp_path / "peers.png"))
    check_png(tmp_path / "peers.png")
    (axes,) = figure.axes
    names = {label.get_text() for label in axes.get_yticklabels()}
    assert names == {server.label for server in comparison_result.measured}


def test_the_end_of_select_is_in_the_picture(pollers_result: PollersResult) -> None:
    refused = WakeUp("select", 2000, watched=1016, refused=1024)
    wider = replace(pollers_result, wake_ups=[*pollers_result.wake_ups, refused])
    figure = draw_pollers(wider, GROWS)
    assert "epoll's cost depends on ready descriptors" in title(figure)
    assert any("descriptor 1024" in text.get_text() for text in figure.axes[0].texts)


def test_a_poller_without_a_figure_has_no_line(pollers_result: PollersResult) -> None:
    refused = WakeUp("select", 2000, watched=1016, refused=1024)
    figure = draw_pollers(replace(pollers_result, wake_ups=[refused]), UNSEEN)
    assert not figure.axes[0].lines
    assert "cannot be told" in title(figure)


@pytest.mark.parametrize(
    ("attempt", "expected"),
    [
        (Attempt(1.0, None, None), "of 1, 8 of 8 clients had no reply in 1.2 s"),
        (Attempt(1.0, 1.1, None), "of 1, 8 of 8 clients waited over a second"),
        (Attempt(0.1, 0.2, None), "of 1, all 8 clients had a reply within a second"),
    ],
)
def test_the_title_of_backlog(
    backlog_result: BacklogResult, attempt: Attempt, expected: str
) -> None:
    short = replace(backlog_result.results[0], attempts=[attempt] * 8)
    figure = draw_backlog(replace(backlog_result, results=[short]))
    assert expected in title(figure)


def test_a_picture_that_cannot_be_written_is_one_line(pollers_result: PollersResult) -> None:
    figure = draw_pollers(pollers_result, UNSEEN)
    with pytest.raises(EpolloError, match=r"^cannot write /nowhere/x\.png: "):
        save(figure, "/nowhere/x.png")
