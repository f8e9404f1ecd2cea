"""mosquitto's clients and paho speak to the MQTT broker."""

from __future__ import annotations

import queue
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.engines import Engine
from tests.interop.support import absent
from tests.services.support import client, complaints, example, output, port
from tests.support import DEADLINE, Peer, ServerProcess, line_of

pytestmark = pytest.mark.services


@pytest.fixture
def server(engine: Engine) -> Iterator[ServerProcess]:
    with example(engine, "mqtt:Broker", "--framing", "mqtt") as server:
        yield server
        assert complaints(server) == []


def mosquitto(server: ServerProcess, name: str, *flags: str) -> list[str]:
    program = client(f"mosquitto_{name}", "mosquitto-clients")
    return [program, "-h", "127.0.0.1", "-p", port(server), *flags]


@contextmanager
def subscribed(server: ServerProcess, *flags: str) -> Iterator[subprocess.Popen[str]]:
    """mosquitto_sub, when its subscription is acknowledged."""
    lines = client("stdbuf", "coreutils"), "-oL"  # else it keeps what it prints to a pipe
    command = [*lines, *mosquitto(server, "sub", "-d", "-F", "%q %t %p", *flags)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            while not line_of(process.stdout).startswith("Subscribed"):
                assert process.poll() is None
            yield process
        finally:
            process.kill()


def printed(process: subprocess.Popen[str]) -> list[str]:
    """Its messages, when it has ended."""
    lines = process.communicate(timeout=DEADLINE)[0].splitlines()
    return [line for line in lines if not line.startswith("Client ")]


def test_mosquitto_pub_reaches_mosquitto_sub(server: ServerProcess) -> None:
    with (
        subscribed(server, "-q", "1", "-C", "3", "-t", "home/#") as everything,
        subscribed(server, "-q", "1", "-C", "1", "-t", "+/kitchen") as kitchens,
        subscribed(server, "-q", "0", "-C", "2", "-t", "home/+") as unsure,
    ):
        for topic, text, qos in (
            ("elsewhere", "not for them", "1"),
            ("home/kitchen", "21.5", "1"),
            ("home", "is home", "0"),
            ("home/hall", "x" * 100_000, "1"),
        ):
            output(*mosquitto(server, "pub", "-q", qos, "-t", topic, "-s"), given=text)
        long = "x" * 100_000
        assert printed(everything) == [
            "1 home/kitchen 21.5",
            "0 home is home",
            f"1 home/hall {long}",
        ]
        assert printed(kitchens) == ["1 home/kitchen 21.5"]
        assert printed(unsure) == ["0 home/kitchen 21.5", f"0 home/hall {long}"]


def test_many_lines_of_one_client_arrive_in_order(server: ServerProcess) -> None:
    lines = [f"line {number}" for number in range(500)]
    with subscribed(server, "-q", "1", "-C", str(len(lines)), "-t", "lines") as subscriber:
        given = "\n".join(lines) + "\n"
        output(*mosquitto(server, "pub", "-q", "1", "-t", "lines", "-l"), given=given)
        assert printed(subscriber) == [f"1 lines {line}" for line in lines]


def test_what_is_not_supported_ends_the_connection(server: ServerProcess) -> None:
    for flags in (["-q", "2"], ["-q", "0", "-V", "mqttv31"], ["-q", "0", "-V", "mqttv5"]):
        command = mosquitto(server, "pub", *flags, "-t", "home", "-m", "text")
        run = subprocess.run(command, capture_output=True, timeout=DEADLINE, check=False)
        assert run.returncode != 0
    with subscribed(server, "-C", "1", "-t", "home") as subscriber:
        output(*mosquitto(server, "pub", "-t", "home", "-m", "goes on"))
        assert printed(subscriber) == ["0 home goes on"]


class Paho:
    """A client of paho, whose callbacks fill queues."""

    def __init__(self, name: str) -> None:
        try:
            import paho.mqtt.client as mqtt
        except ImportError:
            absent("paho-mqtt")
        version = mqtt.CallbackAPIVersion.VERSION2
        self.client = mqtt.Client(
            version, client_id=name, protocol=mqtt.MQTTv311, reconnect_on_failure=False
        )
        self.events: queue.Queue[Any] = queue.Queue()
        self.messages: queue.Queue[tuple[str, bytes, int]] = queue.Queue()
        self.client.on_connect = lambda *_: self.events.put("connected")
        self.client.on_subscribe = lambda *_: self.events.put("subscribed")
        self.client.on_unsubscribe = lambda *_: self.events.put("unsubscribed")
        self.client.on_disconnect = lambda *_: self.events.put("disconnected")
        self.client.on_log = lambda _client, _data, _level, text: self._log(text)
        self.client.on_message = lambda _client, _data, message: self.messages.put(
            (message.topic, message.payload, message.qos)
        )

    def _log(self, text: str) -> None:
        if "PINGRESP" in text:
            self.events.put("answered")

    def event(self) -> Any:
        return self.events.get(timeout=DEADLINE)

    def message(self) -> tuple[str, bytes, int]:
        return self.messages.get(timeout=DEADLINE)

    def subscribe(self, topic: str, qos: int) -> None:
        self.client.subscribe(topic, qos)
        assert self.event() == "subscribed"

    def publish(self, topic: str, payload: bytes, qos: int) -> None:
        self.client.publish(topic, payload, qos).wait_for_publish(DEADLINE)


@contextmanager
def paho(server: ServerProcess, name: str, keepalive: int = 60, will: str = "") -> Iterator[Paho]:
    peer = Paho(name)
    if will:
        peer.client.will_set(will, b"gone", qos=1)
    peer.client.connect("127.0.0.1", int(port(server)), keepalive)
    peer.client.loop_start()
    try:
        assert peer.event() == "connected"
        yield peer
    finally:
        peer.client.disconnect()
        peer.client.loop_stop()
        peer.client._reset_sockets()  # else the collector may find its pair of sockets first


def test_paho_gets_what_it_has_subscribed_to(server: ServerProcess) -> None:
    with paho(server, "ann") as ann, paho(server, "bob") as bob:
        ann.subscribe("a/+", qos=1)
        bob.subscribe("a/#", qos=0)
        bob.publish("a/b", b"both", qos=1)
        assert ann.message() == ("a/b", b"both", 1)
        assert bob.message() == ("a/b", b"both", 0)
        ann.subscribe("a/+", qos=0)  # in place of the other
        bob.publish("a/b", b"now 0", qos=1)
        assert ann.message() == ("a/b", b"now 0", 0)
        ann.client.unsubscribe("a/+")
        assert ann.event() == "unsubscribed"
        ann.subscribe("end", qos=0)
        bob.publish("a/b", b"not for ann", qos=1)
        bob.publish("end", b"", qos=0)
        assert ann.message() == ("end", b"", 0)


def test_paho_is_answered_when_it_pings(server: ServerProcess) -> None:
    with paho(server, "ann", keepalive=1) as ann:
        assert ann.event() == "answered"


def test_a_will_is_published_unless_its_client_says_goodbye(server: ServerProcess) -> None:
    with paho(server, "ann") as ann:
        ann.subscribe("wills/#", qos=1)
        with paho(server, "bob", will="wills/bob"):
            pass
        with paho(server, "cy", will="wills/cy"), paho(server, "cy") as second:
            assert ann.message() == ("wills/cy", b"gone", 1)  # a second one took its place
            second.publish("wills/end", b"", qos=0)
            assert ann.message() == ("wills/end", b"", 0)


def test_bytes_that_are_no_packets_end_their_connection_only(server: ServerProcess) -> None:
    with paho(server, "ann") as ann, Peer(server.address) as peer:
        ann.subscribe("#", qos=0)
        peer.send(b"\x10\xff\xff\xff\xff\x7f")
        assert peer.receive_until_gone() == b""
        ann.publish("still", b"here", qos=1)
        assert ann.message() == ("still", b"here", 0)
