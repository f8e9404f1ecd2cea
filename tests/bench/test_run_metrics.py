"""The figures of a run while it goes on, as Prometheus reads them."""

from __future__ import annotations

import importlib.util
import re
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from epollo import Connection, Server
from epollo.bench import Workload
from epollo.bench.output.run_metrics import RunMetrics
from epollo.bench.results.figures import RunFigures
from epollo.bench.results.histogram import Histogram
from tests.bench.support import made_up
from tests.support import DEADLINE, epollo_here, line_of, until

LOAD = Workload(address="127.0.0.1:1", rate=500)


def figures(sent: int = 0, **changes: object) -> RunFigures:
    plain: dict[str, object] = dict.fromkeys(RunFigures.__slots__, 0)
    return RunFigures(**plain | {"sent": sent, "errors": {}, "lost": {}} | changes)  # type: ignore[arg-type]


def told(metrics: RunMetrics) -> dict[str, Metric]:
    """What Prometheus' own parser reads."""
    registry = CollectorRegistry()
    registry.register(metrics)
    return families(generate_latest(registry).decode())


def families(text: str) -> dict[str, Metric]:
    return {
        family.name.removeprefix("epollo_bench_"): family
        for family in text_string_to_metric_families(text)
    }


def value(family: Metric, name: str = "", **labels: str) -> float:
    [found] = [
        sample.value
        for sample in family.samples
        if sample.name.endswith(name) and sample.labels == labels
    ]
    return float(found)


def test_the_counts_are_those_of_the_run() -> None:
    metrics = RunMetrics(LOAD)
    metrics.update(figures(7, answered=5, opened=3, open=2, lost={"reset": 1}))
    found = told(metrics)
    assert value(found["messages_sent"], "_total") == 7
    assert value(found["messages_answered"], "_total") == 5
    assert value(found["connections_open"]) == 2
    assert value(found["connections_lost"], "_total", reason="reset") == 1
    assert value(found["errors"], "_total", kind="unanswered") == 0
    assert value(found["target_rate"]) == 500


def test_a_closed_loop_asks_for_no_rate() -> None:
    assert "target_rate" not in told(RunMetrics(Workload(address="127.0.0.1:1")))


def test_no_count_of_errors_goes_down() -> None:
    """One is found to be of another kind later; Prometheus would take that for a restart."""
    metrics = RunMetrics(LOAD)
    metrics.update(figures(errors={"wrong_bytes": 2}))
    metrics.update(figures(errors={"wrong_bytes": 1, "extra": 1}))
    errors = told(metrics)["errors"]
    assert value(errors, "_total", kind="wrong_bytes") == 2
    assert value(errors, "_total", kind="extra") == 1


def test_the_histogram_has_each_response_once() -> None:
    """Shown when its second is over, and closed later with what came late."""
    metrics, seconds = RunMetrics(LOAD), made_up(seconds=4, per_second=100).seconds
    shown = []
    for number, second in enumerate(seconds):
        metrics.show(second)
        if number >= 2:
            metrics.append(seconds[number - 2])
        shown.append(value(told(metrics)["response_seconds"], "_count"))
    assert shown == [100, 200, 300, 400]
    late = Histogram()
    late.record(2 * 10**9)
    metrics.amend(0, (late, late, late))
    response = told(metrics)["response_seconds"]
    assert value(response, "_count") == value(response, "_bucket", le="+Inf") == 401
    assert value(response, "_bucket", le="1.0") == 400
    assert value(response, "_bucket", le="2.5") == 401
    whole = Histogram.sum(second.response for second in seconds)
    assert value(response, "_sum") == pytest.approx(whole.mean * 400 / 1e9 + 2)
    counts = [sample.value for sample in response.samples if sample.name.endswith("_bucket")]
    assert counts == sorted(counts)
    below = round((1 - whole.above(250_000)) * 400)
    assert value(response, "_bucket", le="0.00025") == below


# -- the command


@contextmanager
def running(*load: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """``epollo bench`` for a minute at most, and where its figures are; it is interrupted."""
    command = [sys.executable, "-m", "epollo", "bench", *load, "-d", "60s", "--warmup", "0"]
    with subprocess.Popen(
        [*command, "--metrics", "127.0.0.1:0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as run:
        try:
            assert run.stderr is not None
            line = line_of(run.stderr)
            where = re.fullmatch(r"epollo: metrics on (http://127\.0\.0\.1:\d+/metrics)\n", line)
            assert where is not None, line
            yield run, where[1]
        finally:
            run.terminate()
            run.communicate(timeout=DEADLINE)


def scrape(url: str) -> dict[str, Metric]:
    with urllib.request.urlopen(url, timeout=DEADLINE) as response:  # noqa: S310
        return families(response.read().decode())


@pytest.mark.parametrize("processes", ["1", "2"])
def test_the_figures_grow_while_it_runs(processes: str) -> None:
    with Server(lambda message: message, "127.0.0.1:0") as server:
        load = [server.addresses[0], "-c", "4", "-R", "100", "--processes", processes]
        with running(*load) as (_, url):
            until(lambda: value(scrape(url)["response_seconds"], "_count") >= 200)
            found = scrape(url)
            assert value(found["messages_sent"], "_total") >= 100
            assert value(found["sent_bytes"], "_total") >= 64 * 100
            assert value(found["connections_open"]) == 4
            assert value(found["connections_opened"], "_total") == 4
            assert value(found["target_rate"]) == pytest.approx(100)


@pytest.mark.parametrize("port", ["0", "fixed"])
def test_a_quiet_run_only_tells_a_port_that_nobody_knows(port: str) -> None:
    with Server(lambda message: message, "127.0.0.1:0") as server:
        with socket.create_server(("127.0.0.1", 0)) as free:
            number = port if port == "0" else str(free.getsockname()[1])
        load = [server.addresses[0], "-c", "1", "-n", "10", "-R", "1000", "--warmup", "0", "-q"]
        run = epollo_here("bench", *load, "--metrics", f"127.0.0.1:{number}")
    assert run.returncode == 0, run.stderr
    assert ("epollo: metrics on " in run.stderr) is (port == "0")


def test_an_address_that_cannot_be_used_is_told_with_the_option() -> None:
    with Server(lambda message: message, "127.0.0.1:0") as server:
        taken = epollo_here("bench", server.addresses[0], "--metrics", server.addresses[0])
        wrong = epollo_here("bench", server.addresses[0], "--metrics", "nowhere")
    assert taken.stderr.startswith(
        f"epollo: error: --metrics: cannot listen on {server.addresses[0]}"
    )
    assert taken.returncode == 1
    assert wrong.stderr.startswith("epollo: error: --metrics: bad address 'nowhere': ")
    assert wrong.returncode == 2


def test_lost_connections_are_told_by_their_reason() -> None:
    """The server answers the first message of each connection: a connection is given up after the
    timeout, and replaced."""

    def silent(message: bytes, connection: Connection) -> bytes | None:
        known, connection.state = connection.state, True
        return None if known else message

    with Server(silent, "127.0.0.1:0") as server:
        load = [server.addresses[0], "-c", "2", "-R", "20", "--timeout", "3s"]
        with running(*load) as (_, url):
            until(
                lambda: any(
                    sample.labels == {"reason": "timeout"} and sample.value >= 2
                    for sample in scrape(url)["connections_lost"].samples
                )
            )
            assert value(scrape(url)["errors"], "_total", kind="unanswered") >= 2


@pytest.mark.parametrize(
    ("given", "status", "words"),
    [
        (["--metrics", "nonsense"], 2, "--metrics: bad address 'nonsense': no port"),
        (
            ["--metrics", "unix:no/such/socket"],
            1,
            "--metrics: cannot listen on unix:no/such/socket",
        ),
        (["--metrics", "127.0.0.1:0", "--find-rate", "p99<5ms"], 2, "--metrics: shows one run"),
    ],
)
def test_a_wrong_address_is_one_line(given: list[str], status: int, words: str) -> None:
    run = epollo_here("bench", "127.0.0.1:1", *given)
    assert (run.returncode, run.stdout) == (status, "")
    assert run.stderr.startswith(f"epollo: error: {words}")
    assert run.stderr.count("\n") == 1


@pytest.mark.parametrize("package", ["prometheus_client", "h11"])
def test_without_the_packages_it_says_what_to_install(
    package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = importlib.util.find_spec
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name, _=None: None if name == package else there(name)
    )
    run = epollo_here("bench", "127.0.0.1:1", "--metrics", "127.0.0.1:0")
    assert (run.returncode, run.stdout) == (2, "")
    expected = f"epollo: error: --metrics needs {package}: pip install 'epollo[metrics]'\n"
    assert run.stderr == expected
