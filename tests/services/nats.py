"""NATS servers, alone and in a cluster: Debian's nats-server, with the file of the examples."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from tests.documents import ROOT
from tests.services.support import client
from tests.support import DEADLINE, until

CONFIG = ROOT / "examples" / "deploy" / "cluster" / "nats.conf"


_LOWEST, _HIGHEST = 20000, 32000  # below those that the kernel gives to clients (ip(7))


def free_port() -> int:
    """One that nobody has, and that no client is given while its server is down: a server that
    comes back at the same port needs one. nats-server takes no socket that listens already."""
    while True:
        port = random.randrange(_LOWEST, _HIGHEST)  # noqa: S311
        try:
            with socket.create_server(("127.0.0.1", port)):
                return port
        except OSError:
            continue


class Nats:
    """One server, which may be killed and come back at the same ports."""

    def __init__(self, name: str, ports: Sequence[int], routes: Sequence[int]) -> None:
        self.port, self.cluster_port, self.monitor_port = ports
        self.url = f"nats://127.0.0.1:{self.port}"
        self._name = name
        self._routes = routes
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        program = client("nats-server", "Debian's nats-server")
        routes = ",".join(f"nats://127.0.0.1:{port}" for port in self._routes)
        arguments = [
            *("--addr", "127.0.0.1", "--port", str(self.port), "--name", self._name),
            *("--http_port", str(self.monitor_port)),
            *("--cluster", f"nats://127.0.0.1:{self.cluster_port}", "--routes", routes),
        ]
        self._process = subprocess.Popen(
            [program, "--config", str(CONFIG), *arguments],
            stderr=subprocess.DEVNULL,
            env={**os.environ, "NATS_NAME": self._name, "NATS_ROUTES": "[]"},
        )
        until(lambda: self.asked("varz"))

    def asked(self, what: str) -> Any:
        """What its monitoring says; None while it does not answer."""
        try:
            where = f"http://127.0.0.1:{self.monitor_port}/{what}"
            with urllib.request.urlopen(where, timeout=DEADLINE) as response:
                return json.load(response)
        except OSError:
            return None

    def subjects(self) -> list[str]:
        """The subjects of all subscriptions here, once for each."""
        found = self.asked("subsz?subs=1&limit=100000").get("subscriptions_list", [])
        return [each["subject"] for each in found]

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        """At once, in the middle of anything."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(DEADLINE)
            self._process = None


@contextmanager
def nats_servers(count: int) -> Iterator[list[Nats]]:
    """``count`` of them, in one cluster."""
    ports = [[free_port() for _ in range(3)] for _ in range(count)]
    routes = [cluster for _, cluster, _ in ports]
    servers = [Nats(f"nats-{at + 1}", each, routes) for at, each in enumerate(ports)]
    with ExitStack() as stack:
        for server in servers:
            stack.callback(server.kill)
            server.start()
        for server in servers:
            until(lambda server=server: routes_of(server) == count - 1)  # type: ignore[misc]
        yield servers


def routes_of(server: Nats) -> int:
    """To how many others of the cluster is it connected?"""
    return len({each["remote_id"] for each in server.asked("routez")["routes"]})
