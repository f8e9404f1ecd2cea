"""What agents say is JSON, and loses nothing."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from epollo import HandlerError, ResultFileError, SettingError
from epollo.bench.agents.assignment import Assignment
from epollo.bench.agents.messages import (
    Amended,
    Closed,
    Go,
    Live,
    Outcome,
    Ready,
    Stop,
    line_of,
    message_of,
)
from epollo.bench.load.shards import Shard
from epollo.bench.results.figures import RunFigures
from epollo.bench.results.histogram import Histogram
from epollo.bench.results.result import HISTOGRAMS
from epollo.bench.workload import Workload
from epollo.errors import ConnectError, FrameTooLarge
from tests.bench.support import made_up


def histogram(*values: int) -> Histogram:
    made = Histogram()
    for value in values:
        made.record(value)
    return made


def test_a_second_is_the_same_afterwards_to_the_nanosecond() -> None:
    (second,) = made_up(seconds=1).seconds
    second = second.having(histogram(1, 1_234_567), histogram(7), histogram())
    for kind in (Live, Closed):
        read = message_of(line_of(kind(second)))
        assert type(read) is kind
        assert (
            read.second.response.exact
            == second.response.exact
            == (1_234_568, 1524155677490, 1, 1_234_567)
        )
        assert read.second.to_document() == second.to_document()


def test_an_outcome_is_the_same_afterwards() -> None:
    result = replace(made_up(seconds=2), seconds=[])
    read = message_of(line_of(Outcome(result, ConnectError("refused"))))
    for name in HISTOGRAMS:
        assert getattr(read.result, name).exact == getattr(result, name).exact
    assert read.result.to_document() == result.to_document()
    assert str(read.refusal) == "refused"


def test_short_messages_are_the_same_afterwards() -> None:
    figures = RunFigures(1, 2, 3, 4, 5, 6, 7, {"reset": 8}, {"eof": 9})
    for message in (Ready(), Go(1 << 60), Stop(True), Stop(False), figures):
        assert message_of(line_of(message)) == message
    amended = message_of(line_of(Amended(3, (histogram(5), histogram(6), histogram()))))
    assert amended.number == 3
    assert [each.exact for each in amended.more] == [(5, 25, 5, 5), (6, 36, 6, 6), (0, 0, 0, 0)]


def test_an_error_keeps_its_type_if_that_takes_a_text() -> None:
    read = message_of(line_of(HandlerError("no such name")))
    assert (type(read), str(read)) == (HandlerError, "no such name")
    assert str(message_of(line_of(FrameTooLarge(5, 4)))) == str(FrameTooLarge(5, 4))


def test_each_is_one_line() -> None:
    for message in (Ready(), Outcome(replace(made_up(seconds=1), seconds=[]), None)):
        line = line_of(message)
        assert (line.count(b"\n"), line[-1:]) == (1, b"\n")


@pytest.mark.parametrize(
    "line", ["", "[]", "{}", '{"other": 1}', '{"closed": {}}', '{"go": "now"}']
)
def test_what_is_none_of_them_is_a_typed_error(line: str) -> None:
    with pytest.raises(ResultFileError):
        message_of(line)


def test_an_assignment_is_the_same_afterwards() -> None:
    load = Workload(address="127.0.0.1:1", rate="10..20/3s", source=("127.0.0.2",), seed=7)
    given = Assignment("abc", Shard(1, 3), load, True, "0.1.0")
    assert Assignment.of_json(given.to_json()) == given
    assert len({replace(given, shard=Shard(index, 3)).seed for index in range(3)}) == 3
    document = json.loads(given.to_json())
    document["workload"]["connections"] = -1
    with pytest.raises(SettingError, match="connections"):
        Assignment.of_json(json.dumps(document))
