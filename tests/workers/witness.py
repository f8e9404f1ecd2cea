"""Witnesses of reloads and stops: clients that count what they have sent, and what was lost.

A message that is on its way when the server ends the connection is lost, whatever the server does:
the client had sent it before it saw the end. That is counted apart, as ``crossed``. A message that
the server's handler was given must have its reply, so the application counts those.
"""

from __future__ import annotations

import asyncio
import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from epollo import address
from tests.support import DEADLINE, frame, until
from tests.workers.support import Supervised

COUNTING = """
import os

VERSION = {version}

class Counting:
    handled = 0

    def received(self, message):
        self.handled += 1
        if self.handled == 50:
            open(f"busy-{{os.getpid()}}", "w").close()
        return message

    def stopped(self, server):
        with open(f"handled-{{os.getpid()}}", "w") as file:
            file.write(str(self.handled))

handle = Counting()
"""


def handled(folder: Path) -> int:
    """The messages that all workers were given, once they have ended."""
    return sum(int(file.read_text()) for file in folder.glob("handled-*"))


# ---- epollo bench


@dataclass
class Figures:
    """What ``epollo bench`` has counted."""

    connections: int = 0  # opened in all
    opening: int = 0  # messages sent before the first second
    sent: int = 0  # after that
    answered: int = 0
    errors: dict[str, int] = field(default_factory=dict)

    @property
    def crossed(self) -> int:
        """Connections that had messages on their way when the server ended them. Most have one:
        at a rate, a message is sent when it is due, so a client that gets no processor to see the
        end may send more."""
        return self.errors.get("closed_early", 0)

    @property
    def lost(self) -> dict[str, int]:
        """What else went wrong. A connection that the server ends between two messages loses
        none."""
        rest = {**self.errors, "unanswered": self.errors.get("unanswered", 0) - self.crossed}
        return {
            name: count
            for name, count in rest.items()
            if count and name not in ("closed_early", "closed_idle")
        }

    def __str__(self) -> str:
        return (
            f"{self.connections} connections, {self.sent} messages, {self.answered} answered, "
            f"{self.errors.get('closed_idle', 0)} connections ended between messages, "
            f"{self.crossed} sent before the end was seen, lost otherwise: {self.lost or 'nothing'}"
        )


@contextmanager
def bench(server: Supervised, *flags: str, connections: int = 100) -> Iterator[Figures]:
    """``epollo bench`` for the ``with`` block, at a rate; its figures are there afterwards."""
    result = server.folder / "result.json"
    command = [sys.executable, "-m", "epollo", "bench", server.address, "--json", str(result)]
    command += ["--connections", str(connections), "--warmup", "0", "--duration", "1h"]
    command += ["--timeout", f"{DEADLINE:g}s", "--quiet", *flags]
    figures = Figures()
    with subprocess.Popen(command) as process:
        try:
            until(lambda: len(list(server.folder.glob("busy-*"))) > 1)
            yield figures
            process.send_signal(signal.SIGINT)
            process.wait(2 * DEADLINE)
        finally:
            process.kill()
    found = json.loads(result.read_text())
    figures.connections, figures.opening = found["connections"]["opened"], connections
    figures.sent, figures.answered = found["sent"], found["messages"]
    figures.errors = found["errors"]


# ---- Clients that pause


class Pausing(asyncio.Protocol):
    """Sends a message, waits for the reply, pauses, and so on, until the server ends it."""

    MESSAGE = frame(b"x" * 64)

    def __init__(self, pause: tuple[float, float]) -> None:
        self._pause = pause
        self._received = 0  # bytes
        self._timer: asyncio.TimerHandle | None = None
        self.sent = 0
        self.ended: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        self.error: Exception | None = None

    @property
    def answered(self) -> int:
        return self._received // len(self.MESSAGE)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._send()

    def _send(self) -> None:
        self._transport.write(self.MESSAGE)
        self.sent += 1

    def data_received(self, data: bytes) -> None:
        self._received += len(data)
        if self.answered == self.sent:
            pause = random.uniform(*self._pause)  # noqa: S311
            self._timer = asyncio.get_running_loop().call_later(pause, self._send)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self.error = exc
        self.ended.set_result(time.monotonic())


@dataclass
class Stopped:
    """What clients that pause have seen of a stop."""

    sent: int
    answered: int
    errors: list[Exception]
    ends: list[float]  # of their connections: seconds after the signal, in order

    @property
    def crossed(self) -> int:
        return self.sent - self.answered

    def most_in(self, seconds: float) -> int:
        """The most connections that have ended within so many seconds."""
        return max(
            sum(start <= end < start + seconds for end in self.ends[index:])
            for index, start in enumerate(self.ends)
        )


async def stop_with(server: Supervised, count: int, pause: tuple[float, float]) -> Stopped:
    """Stop ``server`` by SIGTERM while it has ``count`` connections of clients that pause."""
    where = address.parse(server.address)
    loop = asyncio.get_running_loop()
    clients = []
    for _ in range(count):
        _, client = await loop.create_connection(lambda: Pausing(pause), where.host, where.port)
        clients.append(client)
    async with asyncio.timeout(DEADLINE):
        while not all(client.answered for client in clients):
            await asyncio.sleep(0.01)
    start = time.monotonic()
    server.signal(signal.SIGTERM)
    ends = await asyncio.wait_for(asyncio.gather(*(each.ended for each in clients)), 3 * DEADLINE)
    return Stopped(
        sum(each.sent for each in clients),
        sum(each.answered for each in clients),
        [each.error for each in clients if each.error is not None],
        sorted(end - start for end in ends),
    )
