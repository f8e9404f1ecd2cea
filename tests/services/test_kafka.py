"""kcat and kafka-python ask the broker which topics there are."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from tests.engines import Engine
from tests.interop.support import absent
from tests.services.support import client, complaints, example, output
from tests.support import ServerProcess

pytestmark = pytest.mark.services


@pytest.fixture
def server(engine: Engine) -> Iterator[ServerProcess]:
    with example(engine, "kafka:Broker", "--framing", "kafka") as server:
        yield server
        assert complaints(server) == []


def kcat(server: ServerProcess, *flags: str) -> Any:
    return json.loads(output(client("kcat", "kcat"), "-L", "-J", "-b", server.address, *flags))


def test_kcat_lists_the_broker_and_its_topics(server: ServerProcess) -> None:
    listed = kcat(server)
    assert listed["brokers"] == [{"id": 1, "name": server.address}]
    assert listed["controllerid"] == 1
    partitions = {topic["topic"]: len(topic["partitions"]) for topic in listed["topics"]}
    assert partitions == {"orders": 3, "payments": 1}
    assert listed["topics"][0]["partitions"][2] == {
        "partition": 2,
        "leader": 1,
        "replicas": [{"id": 1}],
        "isrs": [{"id": 1}],
    }


def test_kcat_is_told_that_a_topic_is_not_known(server: ServerProcess) -> None:
    [topic] = kcat(server, "-t", "refunds")["topics"]
    assert topic["topic"] == "refunds"
    assert topic["error"] == "Broker: Unknown topic or partition"


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # its own: importlib.resources.read_text
def test_kafka_python_finds_them_too(server: ServerProcess) -> None:
    try:
        from kafka import KafkaConsumer
    except ImportError:
        absent("kafka-python")
    with closing(KafkaConsumer(bootstrap_servers=server.address)) as consumer:
        assert consumer.topics() == {"orders", "payments"}
        assert consumer.partitions_for_topic("orders") == {0, 1, 2}
