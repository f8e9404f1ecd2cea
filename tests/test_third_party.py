"""`python -m benchmarks.third_party`: what it reads from the others, and what it makes of it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.errors import BenchmarkError
from benchmarks.load import Window
from benchmarks.third_party import page
from benchmarks.third_party.__main__ import PROGRAMS
from benchmarks.third_party.cases import CASES, EPOLLO
from benchmarks.third_party.page import Found
from benchmarks.third_party.testers import read_epollo, read_redis, read_sockperf
from tests.documents import ROOT
from tests.interop.support import absent
from tests.support import DEADLINE

SOCKPERF = """\
sockperf: [Total Run] RunTime=2.000 sec; Warm up time=400 msec; SentMessages=900; ReceivedMessages=9
sockperf: ========= Printing statistics for Server No: 0
sockperf: [Valid Duration] RunTime=1.500 sec; SentMessages=600; ReceivedMessages=600
sockperf: # dropped messages = 0; # duplicated messages = 0; # out-of-order messages = 0
sockperf: ---> <MAX> observation = 8268.158
sockperf: ---> percentile 99.900 = 4611.117
sockperf: ---> percentile 99.000 = 2220.928
sockperf: ---> percentile 50.000 =   34.300
"""
REDIS = (
    '"test","rps","avg_latency_ms","min_latency_ms","p50_latency_ms","p95_latency_ms",'
    '"p99_latency_ms","max_latency_ms"\n'
    '"PING_INLINE","48285.85","0.823","0.056","0.263","4.567","4.943","6.671"\n'
)


def test_sockperfs_figures() -> None:
    """Of the part of its run that it counts."""
    assert read_sockperf(SOCKPERF) == {"rate": 400, "p50_us": 34.3, "p99_us": 2220.928}


@pytest.mark.parametrize("what", ["dropped", "duplicated", "out-of-order"])
def test_a_message_that_sockperf_lost_fails_the_run(what: str) -> None:
    output = SOCKPERF.replace(f"{what} messages = 0", f"{what} messages = 12")
    with pytest.raises(BenchmarkError, match=f"sockperf: {what} messages = 12"):
        read_sockperf(output)


def test_output_without_figures_fails_the_run() -> None:
    with pytest.raises(BenchmarkError, match="sockperf: no figures"):
        read_sockperf("sockperf: ERROR: connection refused")
    with pytest.raises(BenchmarkError, match="redis-benchmark: 0 rows"):
        read_redis("")


def test_redis_benchmarks_figures() -> None:
    found = read_redis(REDIS)
    assert found == {"rate": 48285.85, "p50_us": pytest.approx(263), "p99_us": pytest.approx(4943)}


def test_our_figures_are_from_the_send_and_from_the_due_time() -> None:
    result = {
        "rate": 7.0,
        "service": {"percentiles": {"50": 1e-6, "99": 2e-6}},
        "response": {"percentiles": {"50": 3e-6, "99": 4e-6}},
    }
    assert read_epollo(json.dumps(result)) == pytest.approx(
        {"rate": 7, "p50_us": 1, "p99_us": 2, "due_p50_us": 3, "due_p99_us": 4}
    )


def test_a_ratio_is_taken_within_a_round() -> None:
    case = CASES[0]
    found = []
    for number, (theirs, ours) in enumerate([(10.0, 20.0), (100.0, 100.0), (50.0, 150.0)], 1):
        for name, value in ((case.other, theirs), (EPOLLO, ours)):
            values = {"rate": 1000.0, "p50_us": value, "p99_us": 2 * value, "waited": 0.0}
            found.append(Found(case.name, case.other, name, number, values))
    rows = page.rows(case, found)
    assert rows[0] == [case.name, case.other, "1,000 (1,000-1,000)", *spreads(50, 10, 100)]
    assert rows[-1][3:] == ["2.00 (1.00-3.00)"] * 2


@pytest.mark.parametrize(
    ("rounds", "waited", "why"),
    [(5, 0.0, None), (4, 0.0, "fewer than 5 rounds"), (5, 0.3, "for 30 % of the time")],
)
def test_a_run_that_is_not_to_be_quoted_says_so(
    rounds: int, waited: float, why: str | None
) -> None:
    values = {"rate": 1.0, "p50_us": 1.0, "p99_us": 1.0, "waited": waited}
    found = [Found("case", "redis-benchmark", EPOLLO, n, values) for n in range(1, rounds + 1)]
    text = page.method(Window(2.0, 0.4, 0), found)
    assert ("Not to be quoted" in text) == (why is not None)
    assert (why or "") in text


def spreads(*values: float) -> list[str]:
    """The cells of p50 and p99, which is twice as long."""
    return ["{:,.1f} ({:,.1f}-{:,.1f})".format(*(n * value for value in values)) for n in (1, 2)]


def test_a_quick_run_has_every_case(tmp_path: Path) -> None:
    for program, package in PROGRAMS.items():
        if shutil.which(program) is None:
            absent(f"Debian's {package}")
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("two cores are needed")
    module = ["-m", "benchmarks.third_party"]
    command = [sys.executable, *module, "--quick", "--output", str(tmp_path)]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=3 * DEADLINE, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    document = json.loads((tmp_path / "third_party.json").read_text())
    found = {(each["case"], each["server"], each["tester"]) for each in document["measurements"]}
    assert found == {(case.name, case.other, name) for case in CASES for name, _ in case.pair}
    assert all(each["values"]["p50_us"] > 0 for each in document["measurements"])
    text = (tmp_path / "third_party.md").read_text()
    assert text.count("| epollo bench to ") == len(CASES)
