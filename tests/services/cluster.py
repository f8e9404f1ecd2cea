"""Three nodes of a chat behind HAProxy, with NATS in a cluster: the files of examples/deploy."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from epollo import address
from tests.documents import ROOT
from tests.metrics.support import Scraped, get
from tests.services.nats import Nats, free_port, nats_servers
from tests.services.support import client
from tests.support import DEADLINE, ServerProcess, serving, until

DEPLOY = ROOT / "examples" / "deploy" / "cluster"
DRAIN_DELAY = "60s"  # in which all members can move, however busy this machine is

APPLICATION = """
import os

NAME = os.environ["NODE_NAME"].encode()

class Chat:
    def started(self, server):
        self.server = server

    def connected(self, connection):
        connection.join("chat")
        connection.send(b"in " + NAME)

    def received(self, message):
        self.server.publish("chat", message)

    def stopping(self, server):
        for connection in server.connections:
            connection.send(b"move")
"""


class Node:
    """One epollo, at the same ports whenever it is started."""

    def __init__(self, name: str, folder: Path, brokers: Sequence[str]) -> None:
        self.name = name
        self.address = f"127.0.0.1:{free_port()}"
        self.metrics = f"127.0.0.1:{free_port()}"
        self._folder = folder
        self._brokers = brokers
        self._stack = ExitStack()
        self._server: ServerProcess | None = None

    def start(self) -> None:
        self._server = self._stack.enter_context(
            serving(
                *("app:Chat", "--framing", "line", "--proxy-protocol", "required"),
                *("--metrics", self.metrics, "--broker", ",".join(self._brokers)),
                *("--drain-delay", DRAIN_DELAY, "--slow-handler", "0"),
                bind=self.address,
                cwd=str(self._folder),
                env={**os.environ, "NODE_NAME": self.name},
            )
        )
        until(self.is_ready)
        until(lambda: self.broker("connections"))

    def is_ready(self) -> bool:
        try:
            return get(self.metrics, "/readyz").status == 200
        except OSError:
            return False

    def broker(self, name: str) -> int:
        """The value of the metric ``epollo_broker_NAME``."""
        name = f"epollo_broker_{name}"
        gauges = ("epollo_broker_connections", "epollo_broker_waiting_bytes")
        return int(Scraped(self.metrics).sum(name if name in gauges else f"{name}_total"))

    @property
    def missed(self) -> int:
        return self.broker("missed_messages")

    def begin_stop(self) -> None:
        """SIGTERM: it goes on accepting for `DRAIN_DELAY`, then drains."""
        assert self._server is not None
        self._server.signal(signal.SIGTERM)

    @property
    def runs(self) -> bool:
        return self._server is not None and self._server.process.poll() is None

    def wait(self) -> int:
        """Its exit status."""
        assert self._server is not None
        status, self._server = self._server.wait(), None
        self._stack.close()
        return status

    def kill(self) -> None:
        if self._server is not None:
            self._server.process.kill()
            self.wait()

    def close(self) -> None:
        self.kill()
        self._stack.close()


class Cluster:
    """All of it."""

    def __init__(self, front: str, nodes: Sequence[Node], nats: Sequence[Nats]) -> None:
        self.front = front
        self.nodes = nodes
        self.nats = nats

    def node(self, name: str) -> Node:
        return next(node for node in self.nodes if node.name == name)


@contextmanager
def cluster(folder: Path) -> Iterator[Cluster]:
    """Three servers of NATS, three nodes, each with a server of NATS next to it, and HAProxy."""
    (folder / "app.py").write_text(APPLICATION)
    with ExitStack() as stack:
        nats = stack.enter_context(nats_servers(3))
        urls = [server.url for server in nats]
        nodes = []
        for at in range(3):
            node = Node(f"node-{at + 1}", folder, urls[at:] + urls[:at])
            stack.callback(node.close)
            node.start()
            nodes.append(node)
        front = stack.enter_context(_haproxy(nodes))
        yield Cluster(front, nodes, nats)


@contextmanager
def _haproxy(nodes: Sequence[Node]) -> Iterator[str]:
    program = client("haproxy", "Debian's haproxy")
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as front:
        environment = {"FRONT": f"fd@{front.fileno()}"}
        for at, node in enumerate(nodes):
            environment[f"NODE_{at + 1}"] = node.address
            environment[f"READY_{at + 1}"] = node.metrics.rpartition(":")[2]
        process = subprocess.Popen(
            [program, "-db", "-f", DEPLOY / "haproxy.cfg"],
            stderr=subprocess.DEVNULL,
            pass_fds=[front.fileno()],
            env={**os.environ, **environment},
        )
        where = str(address.of(front.getsockname()))
    try:
        yield where
    finally:
        process.terminate()
        process.wait(DEADLINE)
