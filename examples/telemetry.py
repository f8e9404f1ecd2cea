"""A telemetry sink: readings come as lines of JSON, and are acknowledged once SQLite has them.

    python examples/telemetry.py 127.0.0.1:8091 telemetry.db
    epollo serve examples.telemetry:Sink --framing line --in-flight 1000

    {"device": "boiler", "number": 1, "value": 20.5}    is answered by    {"stored": 1}

A device numbers its readings and sends again what was not acknowledged; that stores nothing twice.
"""

from __future__ import annotations

import asyncio
import json
import math
import sqlite3
import sys
from typing import TypeAlias

import epollo

BATCH = 1000  # readings in a transaction at most; a commit costs as much for one as for all

Reading: TypeAlias = tuple[str, int, float]

TABLE = """
CREATE TABLE IF NOT EXISTS readings (
    device TEXT, number INTEGER, value REAL NOT NULL, PRIMARY KEY (device, number)
) WITHOUT ROWID
"""
INSERT = "INSERT INTO readings VALUES (?, ?, ?) ON CONFLICT (device, number) DO NOTHING"


class Sink:
    """Hands readings of all connections to one writer, which commits as many as are waiting."""

    def __init__(self, path: str = "telemetry.db") -> None:
        self._path = path

    async def started(self, server: epollo.Server) -> None:
        self._waiting: asyncio.Queue[tuple[Reading, asyncio.Future[None]]] = asyncio.Queue(BATCH)
        # Used by one thread at a time: the writer awaits each.
        self._database = sqlite3.connect(self._path, check_same_thread=False)
        self._database.execute(TABLE)
        self._writer = asyncio.create_task(self._write())

    async def received(self, message: bytes) -> bytes:
        """The acknowledgement, behind the commit; or what is wrong with the reading."""
        try:
            reading = _reading(message)
        except (ValueError, LookupError, TypeError, ArithmeticError, RecursionError) as error:
            return json.dumps({"error": f"{type(error).__name__}: {error}"}).encode()
        stored = asyncio.get_running_loop().create_future()
        await self._waiting.put((reading, stored))
        await stored
        return json.dumps({"stored": reading[1]}).encode()

    async def stopped(self, server: epollo.Server) -> None:
        """Handlers have ended by now; what those that were cancelled left behind is stored too."""
        await self._waiting.join()
        self._writer.cancel()
        await asyncio.wait([self._writer])
        self._database.close()

    async def _write(self) -> None:
        while True:
            batch = [await self._waiting.get()]
            while len(batch) < BATCH and not self._waiting.empty():
                batch.append(self._waiting.get_nowait())
            try:
                await asyncio.to_thread(self._store, [reading for reading, _ in batch])
            except Exception as error:  # the next batch may fare better
                for _, stored in batch:
                    if not stored.done():
                        stored.set_exception(error)  # closes its connection: handler_error
            else:
                for _, stored in batch:
                    if not stored.done():  # cancelled, as its peer has gone
                        stored.set_result(None)
            for _ in batch:
                self._waiting.task_done()

    def _store(self, readings: list[Reading]) -> None:
        with self._database:  # one transaction
            self._database.executemany(INSERT, readings)


def _reading(message: bytes) -> Reading:
    fields = json.loads(message)
    device, number, value = fields["device"], fields["number"], float(fields["value"])
    if not isinstance(device, str) or not device.isprintable():
        raise ValueError("device must be printable text")
    if type(number) is not int or not 0 <= number < 1 << 63:  # what an INTEGER of SQLite holds
        raise ValueError("number must be an integer from 0 to 2**63 - 1")
    if not math.isfinite(value):
        raise ValueError("value must be finite")
    return device, number, value


if __name__ == "__main__":
    epollo.serve(Sink(*sys.argv[2:3]), *sys.argv[1:2], framing="line", in_flight=BATCH)
