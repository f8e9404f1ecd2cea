"""The page: what it says, that it needs nothing else, and how a browser shows it."""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from epollo.bench import Workload, find_rate
from epollo.bench.compare.ratios import LOWER, SAME, Change, Comparison, Row
from epollo.bench.output import html
from epollo.bench.results.precision import Precision
from epollo.bench.results.result import Result
from epollo.bench.results.thresholds import parse
from epollo.bench.results.verdict import Verdict
from epollo.errors import EpolloError, UsageError
from tests.bench.browser import Browser, browser, found
from tests.bench.scenes import SCENES, closed, overloaded, pair, ramp, stalled
from tests.bench.support import made_up
from tests.interop.support import absent

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HOSTILE = "</title><script>alert(1)</script><img src=x onerror=alert(2)>'\"$x$"


COMPARISON = Comparison(
    ["A", "B"],
    [
        Row("rate", "/s", "higher", [2500.4, 2499.6], [Change(1.0, 0.99, 1.01, SAME)]),
        Row("p99", "s", LOWER, [0.0005, 0.00033], [Change(0.66, 0.6, 0.72, LOWER)]),
        Row("errors", "", LOWER, [0.001, 0.0], [Change(0.0, None, None, "not compared")]),
    ],
    [f"B was measured with another framing {HOSTILE}"],
)


@pytest.fixture(scope="module", autouse=True)
def fonts() -> None:
    """Open the fonts: matplotlib keeps their files open for as long as the process lives."""
    pytest.importorskip("matplotlib")
    html.page([made_up()])


class Seen(HTMLParser):
    """What is in a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.cells: list[list[str]] = []
        self.text = ""
        self._inside: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        self._inside.append(tag)
        if tag == "tr":
            self.cells.append([])
        if tag in ("td", "th"):
            self.cells[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        while self._inside and self._inside.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if "style" not in self._inside:
            self.text += data
        if self._inside and self._inside[-1] in ("td", "th"):
            self.cells[-1][-1] += data

    def row(self, name: str) -> list[str]:
        """The cells behind the one of that name, in the first such row."""
        cells = next(cells for cells in self.cells if cells[0] == name)
        return [cell.replace("\N{NO-BREAK SPACE}", " ") for cell in cells[1:]]


def page(*results: Result, **more: object) -> Seen:
    return Seen(html.page(results, **more))  # type: ignore[arg-type]


def test_it_says_what_was_run_and_what_came_of_it() -> None:
    seen = page(stalled())
    assert "127.0.0.1:8091" in seen.text
    assert "100 connections, open loop at 2k messages/s, constant, 64 B messages" in seen.text
    assert "every reply came, in order and verified to the byte; no errors" in seen.text
    assert "2023-11-14 22:13 UTC, 30 s measured" in seen.text
    assert "at a scheduled time" in seen.text
    assert "at a scheduled time" not in page(closed()).text


def test_a_search_has_the_figures_of_the_rate_that_it_found() -> None:
    """Percentiles of all its runs together would be of no rate at all."""

    def run(load: Workload) -> Result:
        latency = 1_000_000 if load.profile.highest <= 3000 else 1_000_000_000
        return made_up(lambda *_: latency, seconds=2, per_second=100, rate=load.rate)

    search = find_rate(Workload(address="127.0.0.1:8091", duration=2.0), "p99<5ms", run=run)
    seen = Seen(html.search_page(search))
    assert search.scope in seen.text
    assert ["maximum", "1\N{NO-BREAK SPACE}ms"] in [row[:2] for row in seen.cells]
    assert "Latency against rate" in seen.text


def test_the_figures_are_in_readable_units() -> None:
    result = stalled()
    seen = page(result)
    assert seen.cells[0] == ["", "response", "service", "slip"]
    assert seen.row("99 %")[0] == f"{result.response.percentile(99) / 1e6:.3g} ms"
    assert seen.row("Messages") == [f"{result.messages:,} answered correctly, of 60,000 sent"]
    assert seen.row("Rate") == [f"{result.rate:,.0f} messages a second, of 2,000 wanted"]
    assert seen.row("Fairness")[0].startswith("599 to 600 messages a connection")
    assert seen.row("12")[:5] == ["2,000", "2,000", "1,100", "0", "900"]


def test_a_failed_run_names_its_errors_the_most_frequent_first() -> None:
    seen = page(overloaded())
    counts = "reset 12, unanswered 41,236, wrong_replies 3"
    assert f"Failed {counts}; 51,890 of 80,000 msg/s" in seen.text
    assert seen.row("unanswered") == ["41,236"]
    assert page(closed()).text.count("None.") == 1


def test_the_verdict_is_that_of_the_limits() -> None:
    missed = Verdict.of(stalled(), [parse("p99>5ms")])
    assert f"Failed {missed.broken[0]}; " in page(stalled(), verdicts=[missed]).text
    allowed = Verdict.of(overloaded(), [parse("errors>1m")])
    assert f"Passed {allowed}" in page(overloaded(), verdicts=[allowed]).text


def test_several_runs_are_compared() -> None:
    seen = page(*pair(), names=["before.json", "after.json"], comparison=COMPARISON)
    assert "A: before.json" in seen.text
    assert "B: after.json" in seen.text
    assert seen.row("rate") == ["2,500/s", "2,500/s", "1.000 (0.990 to 1.010), no difference shown"]
    assert seen.row("p99") == ["500 µs", "330 µs", "0.660 (0.600 to 0.720), lower"]
    assert seen.row("errors") == ["0.1 %", "0 %", "not compared"]
    assert len(seen.row("99 %")) == 2
    assert seen.tags.count("details") == 2


def test_what_comes_from_a_user_is_text() -> None:
    workload = replace(closed().workload, address=f"unix:/{HOSTILE}", template=HOSTILE)
    hostile = replace(closed(), errors={HOSTILE: 1})
    hostile = replace(hostile, workload=workload)
    seen = page(hostile, hostile, names=[HOSTILE], comparison=COMPARISON)
    assert HOSTILE in seen.text
    assert "script" not in seen.tags
    assert "img" not in seen.tags


@cache
def text_of(scene: str) -> str:
    """The page of a scene."""
    return html.page(SCENES[scene]())


@pytest.mark.parametrize("scene", SCENES)
def test_it_needs_nothing_else(scene: str) -> None:
    text = text_of(scene)
    seen = Seen(text)
    assert {"script", "img", "iframe", "object", "base"}.isdisjoint(seen.tags)
    links = [value for name, value in seen.attributes if name in ("href", "src", "xlink:href")]
    assert all(link.startswith(("#", "data:,")) for link in links)
    assert not re.search(r"@import|@font-face|url\((?!#)|http-equiv=.refresh|<\?xml|<!ENTITY", text)
    ids = [value for name, value in seen.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    assert {*re.findall(r'(?:url\(#|href="#)([^")]+)', text)} == set(ids)


@pytest.mark.parametrize("scene", SCENES)
def test_no_colour_of_a_picture_is_its_own(scene: str) -> None:
    for picture in re.findall(r"<svg.*?</svg>", text_of(scene), re.DOTALL):
        assert not re.search(r"(fill|stroke): *#", picture)


def test_a_text_in_a_picture_stays_as_it_is() -> None:
    """Even if it looks like what a page changes: a colour, an id, a font, a reference."""
    text = '#0072b2 id="a" font: 3px; stroke: #ffffff url(#a) <style>b</style> xlink:href $x$'
    from epollo.bench.output.pictures.panels import Panel
    from epollo.bench.output.pictures.svg import svg

    def draw(axes: Axes) -> None:
        axes.set_title(text)

    seen = Seen(svg(Panel("one", text, "", draw)))
    assert text in seen.text
    assert ("aria-label", text) in seen.attributes
    assert "style" not in seen.tags


def test_what_cannot_be_written_is_told_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(EpolloError, match=r"^--html /nowhere/x\.html: there is no directory"):
        html.write("/nowhere/x.html", [closed()])
    missing = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "jinja2" else missing(name)
    )
    with pytest.raises(UsageError, match=r"^--html needs jinja2: pip install 'epollo\[plot\]'$"):
        html.write(str(tmp_path / "x.html"), [closed()])


# In a browser

_PROBE = """(width => {
  const channels = text => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => {
    const [x, y, z] = [r, g, b].map(c => c / 255)
      .map(c => c <= .04045 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4);
    return .2126 * x + .7152 * y + .0722 * z;
  };
  const behind = element => {
    for (let at = element; at; at = at.parentElement) {
      const colour = channels(getComputedStyle(at).backgroundColor);
      if (colour.length === 3 || colour[3] === 1) return colour;
    }
    return [NaN, NaN, NaN];
  };
  const contrast = element => {
    const style = getComputedStyle(element);
    const colour = element instanceof SVGElement ? style.fill : style.color;
    const [a, b] = [light(channels(colour)), light(behind(element))].sort((x, y) => y - x);
    return (a + .05) / (b + .05);
  };
  document.querySelectorAll('details').forEach(each => each.open = true);
  const all = [...document.body.querySelectorAll('*')].filter(each => each.checkVisibility());
  const texts = all.filter(each =>
    [...each.childNodes].some(node => node.nodeType === 3 && node.data.trim()));
  const low = texts.filter(each => !(contrast(each) >= 4.5))
    .map(each => `${contrast(each)}: ${each.textContent}`);
  const svgs = [...document.querySelectorAll('svg')];
  const overlaps = svgs.flatMap(svg => {
    const boxes = [...svg.querySelectorAll('text')]
      .map(text => [text, text.getBoundingClientRect()]);
    return boxes.flatMap(([text, a], n) => boxes.slice(n + 1).filter(([_, b]) =>
      Math.min(a.right, b.right) - Math.max(a.left, b.left) > 1 &&
      Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 4)
      .map(([other]) => `${text.textContent} / ${other.textContent}`));
  });
  return JSON.stringify({
    texts: texts.length,
    low,
    overlaps,
    total: document.scrollingElement.scrollWidth,
    beyond: texts.filter(each => each instanceof SVGElement &&
      each.getBoundingClientRect().right > width).map(each => each.textContent),
    pictures: svgs.filter(svg => svg.checkVisibility() && svg.getBoundingClientRect().width > 300)
      .length,
    small: [...document.querySelectorAll('svg text')].filter(each =>
      parseFloat(getComputedStyle(each).fontSize) * each.getScreenCTM().a < 10)
      .map(each => each.textContent),
    paper: getComputedStyle(document.body).backgroundColor,
    line: getComputedStyle(document.querySelector('svg g path[clip-path]')).stroke,
  });
})"""
_COMPLAINTS = ("Log.entryAdded", "Runtime.consoleAPICalled", "Runtime.exceptionThrown")
_DIALOG = "Page.javascriptDialogOpening"


@pytest.fixture(scope="module")
def tab() -> Iterator[Browser]:
    if found() is None:
        absent("a browser (Debian's chromium)")
    with browser() as opened:
        yield opened


@pytest.mark.parametrize("scene", [*SCENES, "hostile"])
def test_a_browser_shows_it(scene: str, tab: Browser, tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    if scene == "hostile":
        results, names = pair(), [HOSTILE * 3, "a" * 300]
    else:
        results, names = list(SCENES[scene]()), []
    compared = COMPARISON if len(results) > 1 else None
    html.write(str(path), results, names, comparison=compared)
    seen = []
    for width in (360, 1200):
        for dark in (False, True):
            tab.open(path, width, dark)
            seen.append(json.loads(tab.run(f"{_PROBE}({width})")))
            assert seen[-1]["total"] <= width  # a phone's innerWidth grows with what is too wide
            methods = [event["method"] for event in tab.events]
            assert {*_COMPLAINTS, _DIALOG}.isdisjoint(methods)
            assert methods.count("Network.requestWillBeSent") == 1  # the page itself
    for probe in seen:
        assert probe["low"] == probe["overlaps"] == probe["small"] == probe["beyond"] == []
        assert probe["pictures"] >= 3
        assert probe["texts"] > 100
    assert seen[0]["paper"] != seen[1]["paper"]
    assert seen[0]["line"] != seen[1]["line"]


def test_it_is_printed_in_light_colours(tab: Browser, tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    html.write(str(path), [ramp()])
    tab.open(path, dark=True, media="print")
    assert tab.run("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert tab.run("getComputedStyle(document.querySelector('figure')).breakInside") == "avoid"
    assert tab.pdf().startswith(b"%PDF-")


def test_the_verdict_says_how_precise_a_figure_is() -> None:
    rough = Precision("p99±5%", "p99", 0.05, 0.01, 0.009, 0.012)
    result = replace(made_up(duration=60.0, until="p99±5%"), precision=(rough,))
    assert "p99 is 10 ms ±20 %, not within 5 % (p99±5%)" in html.page([result])
