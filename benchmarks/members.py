"""Instructions that a published message takes for each member, as callgrind counts them in user
space.

    python -m benchmarks.members           # all engines
    python -m benchmarks.members native --members 100 --size 1000

A handler in the loop's thread publishes to a group in one process. Counted are the call of
`publish` and the turn in which the message is sent; the members read outside of it. The kernel's
instructions are not part of it. What they take is in the CPU time that `benchmarks.broker` prints.
"""

import argparse
import contextlib
import gc
import resource
import socket
import sys
from functools import partial

from benchmarks import callgrind, command, counted
from benchmarks.counted import CLIENT_TIMEOUT, OFF
from benchmarks.errors import BenchmarkError
from epollo import Connection, Server
from epollo.engine import EventLoop

GROUP, MEMBERS, SIZE = "bench", 1000, 64
WARM_UP_TURNS = 5  # CPython specializes what runs often; a turn runs the same for each member
TURN = "turn"
TURNS = 5  # counted, one by one; the lowest is reported


class Chat:
    """Each connection is a member of one group."""

    def connected(self, connection: Connection) -> None:
        connection.join(GROUP)

    def received(self, message: bytes) -> None: ...


def instructions(engine: str, members: int = MEMBERS, size: int = SIZE) -> float:
    """Return the instructions for each member.

    Raises:
        BenchmarkError: valgrind, its headers or a C compiler is missing, or the run failed.
    """
    options = ("--members", str(members), "--size", str(size))
    counts = callgrind.count("benchmarks.members", "--counted", engine, *options)
    return counts.lowest(TURN) / members


def count(engine: str, members: int, size: int) -> None:
    """Run the server and its members in this process, which callgrind watches."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    server = Server(Chat(), "127.0.0.1:0", engine=engine, **OFF)
    counted.run(server, engine, partial(_count_turns, server, members, bytes(size)))


def _count_turns(
    server: Server, members: int, message: bytes, loop: EventLoop, address: str
) -> None:
    library = callgrind.library()
    host, _, port = address.rpartition(":")
    with contextlib.ExitStack() as stack:
        clients = []
        for _ in range(members):
            client = socket.create_connection((host, int(port)), CLIENT_TIMEOUT)
            clients.append(stack.enter_context(client))
            loop.poll(CLIENT_TIMEOUT)  # accepts it
        gc.disable()
        for turn in range(WARM_UP_TURNS + TURNS):
            loop.call_threadsafe(lambda: server.publish(GROUP, message))
            if turn < WARM_UP_TURNS:
                loop.poll(CLIENT_TIMEOUT)
            else:
                library.toggle()
                loop.poll(CLIENT_TIMEOUT)
                library.toggle()
                library.dump(TURN.encode())
            _receive(clients, len(message))


def _receive(clients: list[socket.socket], size: int) -> None:
    for client in clients:
        if len(client.recv(4 + size, socket.MSG_WAITALL)) != 4 + size:
            raise BenchmarkError("a member did not get the message")


def main() -> int:
    """Print the figures."""
    parser = command.parser_of("members", __doc__)
    command.add_engines(parser)
    parser.add_argument("--members", type=int, default=MEMBERS, help=f"of the group ({MEMBERS})")
    parser.add_argument("--size", type=int, default=SIZE, help=f"bytes of a message ({SIZE})")
    parser.add_argument("--counted", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    engines = command.engines(parser, options.engines)
    return command.status(lambda: _do(options, engines))


def _do(options: argparse.Namespace, engines: list[str]) -> None:
    for engine in engines:
        if options.counted:
            count(engine, options.members, options.size)
            continue
        number = instructions(engine, options.members, options.size)
        print(
            f"{engine} engine, {options.members:,} members, {options.size} B: {number:,.0f} "
            "instructions per member",
            flush=True,
        )


if __name__ == "__main__":
    sys.exit(main())
