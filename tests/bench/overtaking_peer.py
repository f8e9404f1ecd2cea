"""A server on asyncio that handles the messages of a connection at once, and replies to each as it
is done; its first line is its port.

    python -m tests.bench.overtaking_peer [QUICK SLOW]

A message is a u32 frame, and is echoed. Every second one takes SLOW seconds, the others QUICK.
"""

from __future__ import annotations

import asyncio
import sys
from itertools import count


class Peer:
    """Each connection has a count of its own, so that half of its messages are slow."""

    def __init__(self, quick: float, slow: float) -> None:
        self._delays = quick, slow

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Until the stream ends."""
        tasks: set[asyncio.Task[None]] = set()
        for number in count():
            try:
                head = await reader.readexactly(4)
                message = await reader.readexactly(int.from_bytes(head, "big"))
            except (asyncio.IncompleteReadError, ConnectionError):
                break
            task = asyncio.create_task(self._reply(writer, head + message, number))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        writer.close()

    async def _reply(self, writer: asyncio.StreamWriter, frame: bytes, number: int) -> None:
        await asyncio.sleep(self._delays[number % 2])
        if not writer.is_closing():
            writer.write(frame)


async def main(quick: float = 0.0, slow: float = 0.01) -> None:
    """Serve until it is killed."""
    server = await asyncio.start_server(Peer(quick, slow).serve, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(*map(float, sys.argv[1:])))
