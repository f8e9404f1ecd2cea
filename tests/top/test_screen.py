"""The screen of `epollo top`, at several sizes of a terminal."""

from __future__ import annotations

from typing import Any

import pytest

from epollo.top.rates import Sample, rates
from epollo.top.screen import KEYS, Picture, draw
from tests.control.support import connection, figures


def picture(workers: int = 2, connections: int = 30, **changes: Any) -> Picture:
    """Of a server whose workers have received 500 messages in the last second."""
    before = [_row(number, figures()) for number in range(1, workers + 1)]
    after = [_row(number, figures(messages_in=510)) for number in range(1, workers + 1)]
    answer = {
        "pid": 1,
        "ready_line": "epollo: serving examples.chat:Chat on 127.0.0.1:8091 (native engine)",
        "stage": "serves",
        "uptime": 3723.0,
        "workers": after,
    }
    rows = [
        connection(number, id=f"4711:{number}", worker=1, unsent=1000 - number)
        for number in range(1, connections + 1)
    ]
    values: dict[str, Any] = {
        "answer": answer,
        "rates": rates(Sample(1.0, {"workers": before}), Sample(2.0, answer)),
        "late": {"eof": 12, "slow_consumer": 1, "reset": 0},
        "connections": rows,
        "total": 500,
        "sort": "unsent",
        **changes,
    }
    return Picture(**values)


def _row(number: int, its_figures: dict[str, Any] | None) -> dict[str, Any]:
    return {
        "worker": number,
        "pid": 4710 + number,
        "stage": "serves",
        "age": 5.0,
        "figures": its_figures,
    }


def text(shown: Picture, width: int = 80, height: int | None = 24) -> str:
    return "\n".join(line.plain for line in draw(shown, width, height))


@pytest.mark.parametrize(("width", "height"), [(80, 24), (200, 60), (40, 12), (20, 5), (100, 300)])
def test_it_fits_the_terminal(width: int, height: int) -> None:
    lines = draw(picture(workers=9), width, height)
    assert len(lines) <= height
    assert max(line.cell_len for line in lines) <= width


def test_a_small_terminal_shows_what_matters() -> None:
    shown = text(picture())
    assert "up 1h02m, serving examples.chat:Chat" in shown
    assert "1,000 in/s" in shown
    assert "eof 12, slow_consumer 1 in the last minute" in shown
    assert "4712" in shown
    assert "4711:1 " in shown
    assert "999 B" in shown
    assert "q:quit" in shown
    assert "…" not in shown.splitlines()[-1]


def test_a_wide_one_shows_more() -> None:
    narrow, wide = text(picture()), text(picture(), 180)
    for title in ("BYTES IN/s", "P99", "BUFFERED", "(by unsent, 30 of 500)"):
        assert title not in narrow
        assert title in wide


def test_many_workers_leave_lines_for_connections() -> None:
    shown = text(picture(workers=64)).splitlines()
    assert any(" more workers" in line for line in shown)
    assert sum("4711:" in line for line in shown) == 3


def test_without_a_height_everything_is_there() -> None:
    shown = text(picture(workers=30), 160, None)
    assert "more workers" not in shown
    assert "4711:30" in shown
    assert "q:quit" not in shown


def test_a_worker_that_does_not_answer_has_no_figures() -> None:
    answer = picture().answer
    answer["workers"][1]["figures"] = None
    silent = picture(answer=answer, rates=rates(None, Sample(2.0, answer)))
    [line] = [line for line in draw(silent, 80, 24) if "4712" in line.plain]
    number, pid, stage, *rest = line.plain.split()
    assert (number, pid, stage, set(rest)) == ("2", "4712", "serves", {"-"})
    assert line.style == "red"


def test_the_key_of_the_sort_stands_out() -> None:
    foot = draw(picture(sort="messages_in"), 80, 24)[-1]
    assert foot.plain == "q:quit arrows k:close  " + " ".join(
        ("u:unsent", "b:buffered", "i:in", "o:out", "m:msgs", "a:age", "d:idle")
    )
    [bold] = [span for span in foot.spans if "bold" in str(span.style)]
    assert foot.plain[bold.start : bold.end] == "m:msgs"


def test_a_server_that_drains_is_told_in_the_first_line() -> None:
    answer = {**picture().answer, "stage": "drains"}
    first = text(picture(answer=answer), 120).splitlines()[0]
    assert first.startswith("up 1h02m, draining examples.chat:Chat on 127.0.0.1:8091")


def test_the_longest_turn_of_each_worker_is_shown() -> None:
    answer = picture().answer
    answer["workers"][0]["figures"]["longest_turn"] = 0.0312
    answer["workers"][1]["figures"]["longest_turn"] = 0.0  # none above the first bound
    shown = text(picture(answer=answer)).splitlines()
    assert any("LONGEST TURN" in line for line in shown)
    assert "31.2 ms" in next(line for line in shown if "4711 " in line)
    assert "< 1 ms" in next(line for line in shown if "4712 " in line)


def test_what_is_not_measured_yet_is_not_0() -> None:
    first = text(picture(rates=rates(None, Sample(1.0, picture().answer))))
    assert "messages     - in/s   - out/s" in first
    assert "p50 -   p99 -" in first


def test_a_server_that_is_gone_is_told_in_the_first_line() -> None:
    assert text(picture(trouble="nobody listens")).startswith("nobody listens\n")


def test_a_question_takes_the_place_of_the_keys() -> None:
    shown = text(picture(message="close 4711:1? y or n"))
    assert shown.endswith("close 4711:1? y or n")
    assert "q:quit" not in shown


def test_the_selected_connection_is_marked() -> None:
    marked = [line.plain for line in draw(picture(selected="4711:3"), 80, 24) if line.style]
    assert any(line.startswith("4711:3 ") for line in marked)


def test_a_peer_cannot_command_the_terminal() -> None:
    evil = picture(connections=1)
    evil.connections[0]["peer"] = "unix:\x1b[2J\n"  # type: ignore[index]
    assert "\x1b" not in text(evil)
    assert "unix:?[2J?" in text(evil)


def test_every_order_has_its_key() -> None:
    assert len(set(KEYS)) == len(set(KEYS.values()))
    assert not {"q", "k", "y", "n"} & set(KEYS)
