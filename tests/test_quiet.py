"""Which samples of the benchmarks count: noise of the machine does not become a figure."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from benchmarks import markdown, quiet
from benchmarks.errors import NoReply
from benchmarks.points import SMALL
from benchmarks.samples import Sample, Series
from benchmarks.servers import LIMIT, NATIVE


def values(rate: float, server: float = 0.0, load: float = 0.0) -> dict[str, float]:
    return {"rate": rate, quiet.SERVER_WAITED: server, quiet.LOAD_WAITED: load}


def sample(number: int, found: dict[str, float], name: str = NATIVE.name) -> Sample:
    return Sample("table", SMALL.name, name, number, found)


RATES = Series("table", SMALL.name, NATIVE)


def test_it_is_measured_until_a_sample_is_quiet() -> None:
    found = iter([values(1, server=0.5), values(2, load=0.2), values(3), values(4)])
    assert quiet.quietest(lambda: next(found))["rate"] == 3


def test_if_none_is_quiet_the_quietest_is_taken() -> None:
    found = iter([values(1, server=0.5), values(2, load=0.06), values(3, load=0.3), values(4, 1)])
    assert quiet.quietest(lambda: next(found), 4)["rate"] == 2
    assert next(found, None) is None


def test_a_window_in_which_nothing_came_is_tried_again() -> None:
    outcomes: Iterator[NoReply | dict[str, float]] = iter([NoReply("nothing"), values(2)])

    def measure() -> dict[str, float]:
        outcome = next(outcomes)
        if isinstance(outcome, NoReply):
            raise outcome
        return outcome

    assert quiet.quietest(measure)["rate"] == 2


@pytest.mark.parametrize("side", ["server", "load"])
def test_a_sample_in_which_a_side_had_no_core_does_not_count(side: str) -> None:
    noisy = values(9, **{side: quiet.TOLERATED + 0.01})
    samples = [sample(1, values(1)), sample(2, noisy), sample(3, values(3))]
    assert RATES.rounds(samples) == {1: 1, 3: 3}
    figure = RATES.figure(samples)
    assert figure is not None
    assert (figure.highest, figure.noisy) == (3, False)
    assert "1 had to wait longer and do not count" in quiet.summary([s.values for s in samples])


def test_a_ratio_to_a_sample_that_does_not_count_is_none() -> None:
    base = sample(1, values(1, load=0.5), LIMIT.name)
    samples = [sample(1, values(1)), base]
    assert RATES.over(Series("table", SMALL.name, LIMIT), samples) is None


def test_a_figure_of_a_machine_that_was_not_quiet_is_marked() -> None:
    figure = RATES.figure([sample(1, values(2, load=0.1))])
    assert figure is not None
    assert markdown.whole(figure) == "~2 (2-2)"
    assert "in 1 one waited up to 12%" in quiet.summary([values(2, load=0.1)])
