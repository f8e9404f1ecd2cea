"""The workers of a Dask cluster are one load test: it adds up, and what is lost is said."""

from __future__ import annotations

import asyncio
import json
import math
import os
import random
import signal
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import epollo
from epollo import Connection, EpolloError, Server
from epollo.bench import Result, Second, Workload, run
from epollo.bench.results.verdict import Verdict
from tests.documents import ROOT
from tests.services.dask_cluster import DaskCluster, DaskProcess, dask_cluster
from tests.support import DEADLINE, until

pytestmark = [pytest.mark.services, pytest.mark.timeout(300)]

distributed = pytest.importorskip("distributed")

SCHEMA = json.loads((ROOT / "src/epollo/bench/schema.json").read_text())
MEAN_DELAY = 0.05  # seconds
DEVIATIONS = 4.5  # by which two estimates of the same differ once in 100,000 runs


@pytest.fixture(autouse=True, scope="module")
def kept_by_libraries() -> None:
    """Files that libuuid and libuv open once and keep."""
    uuid.uuid1()
    with Server(Delaying(), "127.0.0.1:0"):
        pass


@pytest.fixture(scope="module")
def cluster() -> Iterator[DaskCluster]:
    with dask_cluster() as cluster:
        cluster.worker()
        cluster.worker()
        yield cluster


@pytest.fixture
def own_cluster() -> Iterator[DaskCluster]:
    """One whose workers may be killed."""
    with dask_cluster() as cluster:
        yield cluster


class Counting:
    """Echoes, and counts connections and messages."""

    def __init__(self) -> None:
        self.connections = 0
        self.messages = 0

    def connected(self, connection: Connection) -> None:
        self.connections += 1

    def received(self, message: bytes, connection: Connection) -> bytes:
        self.messages += 1
        return message


def workload(cluster: DaskCluster, server: Server, **changes: Any) -> Workload:
    load: dict[str, Any] = {"connections": 10, "duration": 2, "warmup": 0.2, "timeout": DEADLINE}
    return Workload(address=server.addresses[0], cluster=cluster.address, **load | changes)


# -- it adds up


def test_two_workers_send_the_plan_of_one_process(cluster: DaskCluster) -> None:
    with Server(Counting(), "127.0.0.1:0") as server:
        result = run(workload(cluster, server, rate=400))
    assert result.errors == {}
    assert result.sent == result.slip.total == result.messages == 800
    assert result.target == pytest.approx(400)
    assert [second.sent for second in result.seconds] == [400, 400]
    assert len(result.answered) == 10
    first, second = result.agents
    assert (first.connections, second.connections) == (5, 5)
    assert first.sent + second.sent == result.sent
    assert first.response.total + second.response.total == result.response.total
    assert first.response.merged(second.response).exact == result.response.exact
    assert first.seed != second.seed
    for agent in result.agents:
        assert agent.round_trip is not None
        assert 0 < agent.round_trip < DEADLINE


def test_the_result_and_its_share_are_the_published_json(cluster: DaskCluster) -> None:
    from epollo.bench.agents.assignment import assignments

    with Server(Counting(), "127.0.0.1:0") as server:
        load = workload(cluster, server, duration=0.5)
        result = run(load)
    document = json.loads(result.to_json())
    jsonschema.validate(document, SCHEMA)
    assert Result.from_json(result.to_json()).agents[1].messages == result.agents[1].messages
    share = json.loads(next(assignments(load, 2, False)).to_json())
    jsonschema.validate(share, {**SCHEMA["$defs"]["share"], "$defs": SCHEMA["$defs"]})


class Delaying:
    """Answers after a random time, exponential and independent of all others."""

    def __init__(self) -> None:
        self._random = random.Random(7)  # noqa: S311

    async def received(self, message: bytes, connection: Connection) -> bytes:
        await asyncio.sleep(self._random.expovariate(1 / MEAN_DELAY))
        return message


def test_two_workers_measure_what_one_process_does(cluster: DaskCluster) -> None:
    """At the same time, so that a busy machine delays both alike. They are samples of the same
    delays, so their mean and quantiles differ by chance only."""
    results: dict[str, Result] = {}
    with Server(Delaying(), "127.0.0.1:0") as server:
        shared = workload(cluster, server, connections=40, duration=8)
        alone = workload(cluster, server, connections=40, duration=8, seed=2)
        alone = Workload(
            address=alone.address, connections=40, duration=8, warmup=0.2, timeout=DEADLINE
        )
        threads = [
            threading.Thread(target=lambda name=name, load=load: results.update({name: run(load)}))
            for name, load in (("two", shared), ("one", alone))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    two, one = results["two"].response, results["one"].response
    assert min(two.total, one.total) > 2000
    error = math.hypot(*(each.deviation / math.sqrt(each.total) for each in (two, one)))
    assert abs(two.mean - one.mean) < DEVIATIONS * error
    for percent in (25.0, 50.0, 75.0, 90.0):
        part = 1 - one.above(two.percentile(percent))
        expected = percent / 100
        spread = math.sqrt(expected * (1 - expected) * (1 / two.total + 1 / one.total))
        assert abs(part - expected) < DEVIATIONS * spread + 0.002  # of a bucket


def test_each_worker_has_one_share_in_a_process_of_its_own(own_cluster: DaskCluster) -> None:
    workers = [own_cluster.worker()[1] for _ in range(2)]
    loaders: list[list[int]] = []

    def look(second: Second) -> None:
        loaders.append([len(worker.loaders()) for worker in workers])

    from epollo.bench.runs import new_run

    with Server(Counting(), "127.0.0.1:0") as server:
        new_run(workload(own_cluster, server, rate=100), look).run()
    assert loaders[0] == [1, 1]
    assert [worker.loaders() for worker in workers] == [[], []]


def test_fewer_connections_than_workers_are_all_there(cluster: DaskCluster) -> None:
    with Server(Counting(), "127.0.0.1:0") as server:
        result = run(workload(cluster, server, connections=1, messages=50, duration=None))
    assert (result.messages, len(result.agents)) == (50, 1)


# -- what goes wrong


def test_a_worker_that_is_killed_is_named_and_its_share_is_not_run_again(
    own_cluster: DaskCluster,
) -> None:
    """Though one comes in its place at the same address, to which Dask gives its task again."""
    own_cluster.worker()
    address, victim = own_cluster.worker()
    handler = Counting()
    killed: list[Second] = []

    def kill(second: Second) -> None:
        if not killed:
            victim.process.kill()
            victim.process.wait()
            killed.append(second)
            threading.Thread(target=own_cluster.worker, args=(address,)).start()

    from epollo.bench.runs import new_run

    with Server(handler, "127.0.0.1:0") as server:
        load = workload(own_cluster, server, rate=200, duration=6)
        result = new_run(load, kill).run()
        connections = handler.connections
    lost = [agent for agent in result.agents if agent.missing]
    assert [agent.name for agent in lost] == [f"worker {address}"]
    assert connections == 10, "no share was begun a second time"
    assert result.target == pytest.approx(200), "the plan is what it was"
    assert result.sent == result.messages == 600
    assert sum(second.sent for second in result.seconds) == 600, "of the other"
    verdict = Verdict.of(result)
    assert verdict.failed
    said = f"share {1 + result.agents.index(lost[0])} of 2 is missing (5 of 10 connections, 100 of "
    assert f"FAILED: {said}200 msg/s): worker {address} " in str(verdict)
    assert Verdict.of(Result.from_json(result.to_json())).failed


def test_one_that_is_lost_before_the_load_begins_ends_the_run(own_cluster: DaskCluster) -> None:
    """Nothing was measured yet; so nothing is."""
    own_cluster.worker()
    address, victim = own_cluster.worker()

    class Deadly(Counting):
        def connected(self, connection: Connection) -> None:
            super().connected(connection)

    from epollo.bench.agents.cluster import Cluster
    from epollo.bench.agents.shared_run import SharedRun

    class Killing(Cluster):
        def go(self, indexes: Any) -> None:
            raise AssertionError("it was begun")

        def start(self, workload: Workload, figures: bool) -> None:
            super().start(workload, figures)
            victim.process.send_signal(signal.SIGKILL)

    with (
        Server(Deadly(), "127.0.0.1:0") as server,
        pytest.raises(EpolloError, match=rf"^worker {address} of the load test is gone: .*$"),
    ):
        SharedRun(workload(own_cluster, server), Killing()).run()


def test_a_share_that_comes_a_second_time_is_refused(cluster: DaskCluster) -> None:
    from epollo.bench.agents.cluster import Cluster
    from epollo.bench.agents.cluster_task import run_share
    from epollo.bench.agents.shared_run import SharedRun

    agents, handler = Cluster(), Counting()
    with Server(handler, "127.0.0.1:0") as server:
        SharedRun(workload(cluster, server, duration=0.5), agents).run()
        before = handler.connections
        with distributed.Client(cluster.address, set_as_default=False) as client:
            for share in agents.shares:
                ending = client.submit(run_share, share.to_json(), pure=False).result(DEADLINE)
                assert json.loads(ending) == {
                    "refused": "its share was begun before, and is not run again"
                }
        assert handler.connections == before == 10


def test_another_version_is_refused_in_one_line_that_names_both(
    own_cluster: DaskCluster, tmp_path: Path
) -> None:
    own_cluster.worker()
    old = tmp_path / "epollo"
    old.mkdir()
    (old / "__init__.py").write_text('__version__ = "0.0.1"\n')
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    address, _ = own_cluster.worker(environment={"PYTHONPATH": path})
    with Server(Counting(), "127.0.0.1:0") as server, pytest.raises(EpolloError) as raised:
        run(workload(own_cluster, server))
    assert str(raised.value) == (
        f"cluster: worker {address} has epollo 0.0.1, and this is epollo {epollo.__version__}; "
        "install the same on both"
    )


def test_a_worker_refuses_a_share_of_another_version(cluster: DaskCluster) -> None:
    """Though the one who sends it has not looked."""
    from dataclasses import replace

    from epollo.bench.agents.assignment import assignments
    from epollo.bench.agents.cluster_task import run_share

    share = next(assignments(Workload(address="127.0.0.1:1"), 1, False))
    with distributed.Client(cluster.address, set_as_default=False) as client:
        text = replace(share, version="0.0.1").to_json()
        ending = json.loads(client.submit(run_share, text, pure=False).result(DEADLINE))
    assert ending == {
        "refused": f"it has epollo {epollo.__version__}, and the share is of 0.0.1",
    }


def test_a_cluster_that_is_not_there_is_one_line() -> None:
    with pytest.raises(EpolloError) as raised:
        run(Workload(address="127.0.0.1:1", cluster="tcp://127.0.0.1:1"))
    said = str(raised.value)
    assert said.startswith("cluster: cannot reach the scheduler at tcp://127.0.0.1:1: ")
    assert "\n" not in said


def test_a_cluster_without_workers_says_how_to_start_one(own_cluster: DaskCluster) -> None:
    with pytest.raises(EpolloError, match=r"^cluster: .* has no workers; .* dask worker tcp://"):
        run(Workload(address="127.0.0.1:1", cluster=own_cluster.address))


def test_a_setting_that_none_can_use_is_one_error(cluster: DaskCluster) -> None:
    with Server(Counting(), "127.0.0.1:0") as server:
        load = workload(cluster, server, expect="no_such:thing")
        with pytest.raises(epollo.HandlerError, match="no_such"):
            run(load)


# -- who leaves


def bench(cluster: DaskCluster, server: Server, *options: str) -> subprocess.Popen[str]:
    arguments = ("bench", server.addresses[0], "--cluster", cluster.address, "-c", "4", *options)
    return subprocess.Popen(
        [sys.executable, "-m", "epollo", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def loading(workers: list[DaskProcess], handler: Counting) -> bool:
    return all(worker.loaders() for worker in workers) and handler.messages > 100


def test_ctrl_c_ends_all_with_a_report(own_cluster: DaskCluster) -> None:
    workers, handler = [own_cluster.worker()[1] for _ in range(2)], Counting()
    with (
        Server(handler, "127.0.0.1:0") as server,
        bench(own_cluster, server, "-d", "60s", "--warmup", "0") as process,
    ):
        until(lambda: loading(workers, handler))
        process.send_signal(signal.SIGINT)
        report, said = process.communicate(timeout=2 * DEADLINE)
    assert (process.returncode, said) == (0, "")
    assert report.endswith("; no errors; ended early, as asked\n")
    assert [worker.loaders() for worker in workers] == [[], []]


def test_no_share_outlives_the_one_that_started_it(own_cluster: DaskCluster) -> None:
    workers, handler = [own_cluster.worker()[1] for _ in range(2)], Counting()
    with (
        Server(handler, "127.0.0.1:0") as server,
        bench(own_cluster, server, "-d", "60s", "--warmup", "0") as process,
    ):
        until(lambda: loading(workers, handler))
        process.kill()
        until(lambda: not any(worker.loaders() for worker in workers))
