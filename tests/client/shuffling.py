"""A server that replies out of order, and clients that cancel, time out and lose the connection.

As a command, `python -m tests.client.shuffling [MESSAGES] [ENGINE]` sends a million messages, and
prints what came of them.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections import Counter
from random import Random
from typing import Any

import epollo
from epollo import AsyncClient, Backoff, CloseReason, Connection

IDENTIFIER = "bytes(0,4,stamp)"  # written by the client
SETTINGS: dict[str, Any] = {"ordered": False, "in_flight": 1024, "slow_handler": 0}
_NO_WAIT = Backoff(first=0.001, most=0.01)
_DEADLINE = 60.0  # seconds


class Shuffling:
    """Replies to each message after a random number of turns of the loop, and sends news that
    nobody asked for. The fifth byte of a message is what to do: reply late, or end the
    connection."""

    def __init__(self) -> None:
        self.random = Random(7)  # noqa: S311
        self.aborted = 0

    async def received(self, message: bytes, connection: Connection) -> bytes | None:
        if message[4:5] == b"!":
            self.aborted += 1
            connection.abort()
            return None
        await asyncio.sleep(0.01 if message[4:5] == b"?" else 0)
        for _ in range(self.random.randrange(4)):
            await asyncio.sleep(0)
        if message.endswith(b"7") and not connection.closed:
            connection.send(b"\xff\xff\xff\xffnews")
        return message[:4] + message[4:].upper()

    def disconnected(self, connection: Connection, reason: CloseReason) -> None:
        pass


class Askers:
    """Tasks that ask ``messages`` questions in all; each has to get its own reply."""

    def __init__(self, client: AsyncClient, messages: int) -> None:
        self.client = client
        self.seen: Counter[str] = Counter()
        self._numbers = iter(range(messages))
        self._random = Random(11)  # noqa: S311

    async def run(self, tasks: int) -> None:
        await asyncio.gather(*(self._ask() for _ in range(tasks)))

    async def _ask(self) -> None:
        for number in self._numbers:
            way = self._random.random()
            if way < 0.01:
                await self._cancel(number)
            elif way < 0.02:
                await self._time_out(number)
            elif way < 0.0206:
                await self._lose(number)
            await self._until_replied(b"    -question %d" % number)
            self.seen["replied"] += 1

    async def _until_replied(self, question: bytes) -> None:
        """The connection may be lost by what others ask; then it is asked again."""
        while True:
            try:
                reply = await self.client.request(question, timeout=_DEADLINE)
            except epollo.ConnectionClosed:
                self.seen["lost"] += 1
                continue
            assert reply[4:] == question[4:].upper(), (question, reply)
            return

    async def _cancel(self, number: int) -> None:
        task = asyncio.create_task(self.client.request(b"    -cancelled %d" % number))
        for _ in range(self._random.randrange(5)):
            await asyncio.sleep(0)
        task.cancel()
        [outcome] = await asyncio.gather(task, return_exceptions=True)
        if isinstance(outcome, bytes):
            assert outcome[4:] == b"-CANCELLED %d" % number
        self.seen[type(outcome).__name__] += 1

    async def _time_out(self, number: int) -> None:
        try:
            reply = await self.client.request(b"    ?late %d" % number, timeout=0.001)
            assert reply[4:] == b"?LATE %d" % number
        except (epollo.ClientTimeout, epollo.ConnectionClosed, epollo.ConnectError) as error:
            self.seen[type(error).__name__] += 1

    async def _lose(self, number: int) -> None:
        try:
            await self.client.request(b"    !lose %d" % number)
        except epollo.ConnectionClosed:
            self.seen["aborted"] += 1


async def shuffle(to: str, messages: int, tasks: int = 200) -> Counter[str]:
    """What came of ``messages`` requests to a `Shuffling` server."""
    news: Counter[str] = Counter()

    def pushed(message: bytes) -> None:
        assert message == b"\xff\xff\xff\xffnews"
        news["pushed"] += 1

    async with AsyncClient(
        to, match=IDENTIFIER, on_push=pushed, reconnect=_NO_WAIT, timeout=_DEADLINE
    ) as client:
        askers = Askers(client, messages)
        await askers.run(tasks)
        return askers.seen + news + Counter(late=client.late_replies)


def main(messages: int, engine: str) -> None:
    handler = Shuffling()
    with epollo.Server(handler, "127.0.0.1:0", engine=engine, **SETTINGS) as server:
        begin = time.monotonic()
        seen = asyncio.run(shuffle(server.addresses[0], messages))
        seconds = time.monotonic() - begin
        print(f"{engine}: {dict(seen)}, {handler.aborted} connections aborted, {seconds:.0f} s")
    assert seen["replied"] == messages


if __name__ == "__main__":
    main(int((sys.argv[1:2] or ["1000000"])[0]), (sys.argv[2:3] or ["native"])[0])
