"""Limits: which hold and which do not, what is said of them, and what is not a limit at all."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from epollo.bench.load.payload import Fault
from epollo.bench.results import thresholds
from epollo.bench.results.histogram import Histogram
from epollo.bench.results.result import Result
from epollo.bench.run.pool import _CONNECT_ERRORS, _ERRORS
from epollo.errors import LimitError, ResultFileError, SettingError, UsageError
from tests.bench.support import made_up


def steps(of: int) -> Histogram:
    """A hundred times: ``of`` ns, twice that, and so on."""
    histogram = Histogram()
    for number in range(1, 101):
        histogram.record(number * of)
    return histogram


@pytest.fixture
def result() -> Result:
    """Responses of 1 to 100 ms, service of 1 to 100 µs, slip of 20 to 2000 µs; 1000 messages in
    2 s, 4 of them unanswered, 1 wrong."""
    return replace(
        made_up(seconds=2, per_second=500, rate="500", errors={"unanswered": 4, "wrong_bytes": 1}),
        response=steps(1_000_000),
        service=steps(1000),
        slip=steps(20_000),
        connect=steps(10_000),
        first_reply=steps(100_000),
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("p99>5ms", "p99 is 99 ms, above 5 ms (p99>5ms)"),
        ("p99 > 5 ms", "p99 is 99 ms, above 5 ms (p99 > 5 ms)"),
        ("p99>=98ms", "p99 is 99 ms, at or above 98 ms (p99>=98ms)"),
        ("p100>99ms", "p100 is 100 ms, above 99 ms (p100>99ms)"),
        ("response.p50>10ms", "response.p50 is 50 ms, above 10 ms (response.p50>10ms)"),
        ("max>50ms", "max is 100 ms, above 50 ms (max>50ms)"),
        ("mean<1s", "mean is 50.5 ms, below 1 s (mean<1s)"),
        ("min<=1ms", "min is 1 ms, at or below 1 ms (min<=1ms)"),
        ("sd>1ms", "sd is 28.9 ms, above 1 ms (sd>1ms)"),
        ("service.p99>50us", "service.p99 is 99 µs, above 50 µs (service.p99>50us)"),
        ("slip.max>1ms", "slip.max is 2 ms, above 1 ms (slip.max>1ms)"),
        ("connect.p50>1us", "connect.p50 is 500 µs, above 1 µs (connect.p50>1us)"),
        ("first_reply.mean>1us", "first_reply.mean is 5.05 ms, above 1 µs (first_reply.mean>1us)"),
        ("errors>0", "errors is 5, above 0 (errors>0)"),
        ("errors>0.1%", "errors is 0.5 %, above 0.1 % (errors>0.1%)"),
        ("unanswered==4", "unanswered is 4, exactly 4 (unanswered==4)"),
        ("unanswered>=0.4%", "unanswered is 0.4 %, at or above 0.4 % (unanswered>=0.4%)"),
        ("wrong_bytes>0", "wrong_bytes is 1, above 0 (wrong_bytes>0)"),
        ("rate<50k", "rate is 500/s, below 50,000/s (rate<50k)"),
        ("target<1k", "target is 500/s, below 1,000/s (target<1k)"),
        ("messages<1.5k", "messages is 1,000, below 1,500 (messages<1.5k)"),
        ("late>0.1%", "late is 50 %, above 0.1 % (late>0.1%)"),
        ("late>0.001", "late is 50 %, above 0.1 % (late>0.001)"),
    ],
)
def test_a_limit_that_is_passed_is_said_in_words(result: Result, text: str, words: str) -> None:
    assert thresholds.parse(text).check(result) == words


@pytest.mark.parametrize(
    "text",
    [
        "p99>100ms",
        "p99>=100ms",
        "p50<50ms",
        "max<=99ms",
        "errors>5",
        "errors>0.5%",
        "short>0",
        "rate<500",
        "rate>500",
        "messages==999",
        "late>50%",
    ],
)
def test_a_limit_that_is_kept_says_nothing(result: Result, text: str) -> None:
    assert thresholds.parse(text).check(result) is None


def test_values_that_look_alike_are_told_apart(result: Result) -> None:
    said = thresholds.parse("mean>50.4999ms").check(result)
    assert said == "mean is 0.0505, above 0.0504999 (mean>50.4999ms)"


def test_it_knows_the_name_of_its_figure() -> None:
    assert thresholds.parse("service.p99.9>1s").figure == "service.p99.9"
    assert thresholds.parse("errors>1%").figure == "errors"


@pytest.mark.parametrize("figure", ["slip.p99", "late", "target"])
def test_a_limit_on_what_a_closed_loop_does_not_have_fails(figure: str) -> None:
    said = thresholds.parse(f"{figure}>{'1ms' if '.' in figure else '1'}").check(made_up(seconds=1))
    assert said is not None
    assert said.startswith(f"{figure} is not known: the run did not measure it")


@pytest.mark.parametrize("figure", ["p99", "max", "first_reply.p50"])
def test_a_limit_on_a_run_that_measured_nothing_fails(figure: str) -> None:
    nothing = replace(made_up(seconds=1), response=Histogram(), first_reply=Histogram())
    said = thresholds.parse(f"{figure}>1h").check(nothing)
    assert said is not None
    assert "is not known" in said


def test_a_limit_may_be_that_of_another_run(tmp_path: Path, result: Result) -> None:
    before = tmp_path / "before.json"
    before.write_text(replace(result, response=steps(500_000), errors={"reset": 2}).to_json())
    assert thresholds.parse(f"p99>2.1*{before}").check(result) is None
    assert thresholds.parse(f"p99>1.2*{before}").check(result) == (
        f"p99 is 99 ms, above 59.4 ms, 1.2 times the 49.5 ms of {before} (p99>1.2*{before})"
    )
    assert thresholds.parse(f"errors > {before}").check(result) == (
        f"errors is 5, above 2, the 2 of {before} (errors > {before})"
    )
    assert thresholds.parse(f"rate<0.9 * {before}").check(result) is None


def test_a_limit_of_a_run_of_another_load_is_refused(tmp_path: Path) -> None:
    before = tmp_path / "before.json"
    run = made_up(seconds=1)
    before.write_text(run.to_json())
    limit = thresholds.parse(f"p99>1.2*{before}")
    limit.check_load(run.workload, "this run")
    with pytest.raises(
        LimitError, match=r"this run is of another load than .*before\.json: depth 4"
    ):
        limit.check_load(replace(run.workload, depth=4), "this run")
    thresholds.parse("p99>5ms").check_load(replace(run.workload, depth=4), "this run")


def test_a_directory_is_not_a_limit_and_the_condition_is_named(tmp_path: Path) -> None:
    with pytest.raises(LimitError, match=r"is a directory; .* RESULT --fail-if 'p99 higher'$"):
        thresholds.parse(f"p99>1.2*{tmp_path}")


def test_a_figure_that_the_other_run_has_not_is_an_error(tmp_path: Path) -> None:
    closed = tmp_path / "closed.json"
    closed.write_text(made_up(seconds=1).to_json())
    with pytest.raises(LimitError, match=r"closed\.json: the run did not measure it$"):
        thresholds.parse(f"slip.p99>1.1*{closed}")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("p99", "'p99' is not a limit; write one such as p99>5ms or errors>0"),
        ("p99>", "is not a limit"),
        ("5ms<p99", "no figure '5ms'"),
        ("p99!5ms", "is not a limit"),
        ("p99>5", "'5' has no unit; write 5ms or another"),
        ("late>5", "'5' is more than 100 %; write a part, such as 0.1%"),
        ("errors>101%", "'101%' is more than 100 %"),
        ("p99>fast", "'fast' is not a time such as 250ms, 10s or 1m"),
        ("p99>5%", "'5%' has no unit"),
        ("p0>5ms", "no figure 'p0'; write response.p99, .max or .mean"),
        ("p100.1>5ms", "no figure 'p100.1'"),
        ("service.rate>5ms", "no figure 'service.rate'; write service.p99, .max or .mean"),
        ("rate<5ms", "'5ms' is not a number such as 0.5, 100 or 10k"),
        ("wrong_byte>0", "no figure 'wrong_byte'; did you mean wrong_bytes?"),
        ("latency>5ms", "no figure 'latency'; "),
        ("p99>1.2.3*before.json", "1.2.3 is not a number"),
        ("p99>" + "9" * 400 + "*before.json", "9 is not a number"),
        ("P99>5MS and MORE", "no figure 'P99'"),
        ("p99>5MS and MORE", "'5MS and MORE' is not a time"),
        (None, "None is not a limit"),
        (5, "5 is not a limit"),
    ],
)
def test_what_is_no_limit_is_an_error_that_says_what_would_do(text: Any, why: str) -> None:
    with pytest.raises(LimitError) as caught:
        thresholds.parse(text)
    assert str(caught.value).startswith("fail-if: ")
    assert why in str(caught.value)
    assert "\n" not in str(caught.value)


def test_another_run_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(
        ResultFileError, match=r"cannot read .*gone\.json: no such file or directory"
    ):
        thresholds.parse(f"p99>1.2*{tmp_path / 'gone.json'}")


def test_a_requirement_on_a_file_that_is_no_result_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "text.json").write_text("text")
    with pytest.raises(ResultFileError, match=rf"^{tmp_path}/text\.json: not a result of"):
        thresholds.requirement(f"p99<{tmp_path / 'text.json'}")


def test_an_invalid_limit_and_an_invalid_file_are_setting_errors() -> None:
    """Programs that catch SettingError, as the docs say, catch these too."""
    assert issubclass(LimitError, SettingError)
    assert issubclass(ResultFileError, SettingError)


@pytest.mark.parametrize("name", [*Fault, *_ERRORS.values(), *_CONNECT_ERRORS.values()])
def test_every_error_that_is_counted_may_be_limited(name: str) -> None:
    some = made_up(seconds=1, errors={str(name): 3})
    assert thresholds.parse(f"{name}>2").check(some) == f"{name} is 3, above 2 ({name}>2)"


@pytest.mark.parametrize(
    "text", ["p99.9>5ms", "p99.99>5ms", "service.p99.9>5ms", "slip.p99.9>5ms", "connect.p99.9>5ms"]
)
def test_a_limit_on_a_percentile_beyond_the_sample_is_not_known(text: str) -> None:
    """Of three messages."""
    few = Histogram()
    few.record_many(1_000_000, 3)
    result = replace(made_up(rate="500"), response=few, service=few, slip=few, connect=few)
    words = thresholds.parse(text).check(result)
    assert words is not None
    assert "not known" in words
    assert thresholds.parse("p50>5ms").check(result) is None


def test_a_limit_from_a_run_with_too_few_messages_is_refused(tmp_path: Path) -> None:
    before = tmp_path / "before.json"
    before.write_text(made_up(seconds=1, per_second=3, connections=1).to_json())
    with pytest.raises(UsageError, match=r"before\.json"):
        thresholds.parse(f"p99.99>1.2*{before}")
