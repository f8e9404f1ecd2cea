"""What --until may say."""

from __future__ import annotations

import pytest

from epollo import SettingError
from epollo.bench import Workload
from epollo.bench.load.goals import Goal, parse_goals


@pytest.mark.parametrize(
    ("text", "goal"),
    [
        ("p99±5%", ("p99", "response", 99.0, 0.05)),
        ("p99+-5%", ("p99", "response", 99.0, 0.05)),
        (" p99.9 +/- 0.5 % ", ("p99.9", "response", 99.9, 0.005)),
        ("service.p50±2.5%", ("service.p50", "service", 50.0, 0.025)),
        ("mean±1%", ("mean", "response", None, 0.01)),
        ("slip.mean±10%", ("slip.mean", "slip", None, 0.1)),
        ("rate±0.1%", ("rate", "", None, 0.001)),
    ],
)
def test_a_goal_is_a_figure_and_a_part_of_it(
    text: str, goal: tuple[str, str, float, float]
) -> None:
    figure, span, percent, within = goal
    [found] = parse_goals(text)
    assert found == Goal(text.strip(), figure, span, percent, found.within)
    assert found.within == pytest.approx(within)


def test_several_goals_have_commas_between_them() -> None:
    assert [goal.figure for goal in parse_goals("p99±5%, mean±2%,rate±1%")] == [
        "p99",
        "mean",
        "rate",
    ]
    assert parse_goals("") == ()


@pytest.mark.parametrize(
    "text",
    [
        *("p99", "p99±", "±5%", "p99±5", "p99±5ms", "p99±0%", "p99±100%", "p99±nan%", "p99>5ms"),
        *("foo±5%", "max±5%", "min±5%", "sd±5%", "p0±5%", "p100±5%", "p101±5%", "errors±5%"),
        *("connect.p99±5%", "first_reply.mean±5%", "response.rate±5%", "p99±0.1%", "p99±5%,", ","),
    ],
)
def test_what_is_not_a_goal_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(SettingError, match=r"^until: .*; (write|use) ") as raised:
        parse_goals(text)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("load", "words"),
    [
        ({"duration": 19.9}, "duration: until needs at least 20 seconds"),
        ({"duration": None, "rate": "1k..2k/60s"}, "until: the rate changes"),
        ({"duration": 60.0, "until": "slip.p99±5%"}, "until: .* only an open loop has a slip"),
    ],
)
def test_a_goal_that_the_run_cannot_reach_is_refused(load: dict[str, object], words: str) -> None:
    settings: dict[str, object] = {"address": "127.0.0.1:1", "until": "p99±5%"} | load
    with pytest.raises(SettingError, match=f"^{words}"):
        Workload(**settings)  # type: ignore[arg-type]
