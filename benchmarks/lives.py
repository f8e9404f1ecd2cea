"""Instructions of a connection's whole life, as callgrind counts them in user space.

It is accepted, one message is echoed, the peer ends its stream, and it is closed.

    python -m benchmarks.lives                 # all engines; compare a commit with another one
    python -m benchmarks.lives native
    python -m benchmarks.lives --features connections  # with limits on connections
    python -m benchmarks.lives --functions 20  # and the C functions that most of them are in
    python -m benchmarks.lives --calls         # the Python functions called, without valgrind

See `benchmarks.instructions` for how it is counted. A turn of the loop accepts some connections,
the next one echoes their messages, and the one after that closes them. The settings are those that
`epollo serve` has.
"""

import argparse
import contextlib
import gc
import socket
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

from benchmarks import callgrind, command, counted
from benchmarks.callgrind import NOTHING
from benchmarks.counted import CLIENT_TIMEOUT
from benchmarks.errors import BenchmarkError
from benchmarks.instructions import FEATURES
from epollo import Server
from epollo.engine import EventLoop
from epollo.server.handlers.application import echo

LIVES = "lives"
AT_ONCE = 16  # connections of a turn
ROUNDS = 10  # of a block
BLOCKS = 5  # counts, of which the lowest is reported
WARM_UP_ROUNDS = 20
MESSAGE = b"\0\0\0\x40" + bytes(64)
USUAL = "usual"
"""The settings as they are."""


def instructions(engine: str, features: str = USUAL, functions: int = 0) -> tuple[float, list[str]]:
    """Return the instructions of a connection, and lines about so many ``functions``.

    Raises:
        BenchmarkError: valgrind, its headers or a C compiler is missing, or the run failed.
    """
    counts = callgrind.count("benchmarks.lives", "--counted", engine, "--features", features)
    number = (counts.lowest(LIVES) - counts.lowest(NOTHING)) / (ROUNDS * AT_ONCE)
    found = counts.costliest(LIVES)[:functions] if functions else []
    return number, [f"{cost / (ROUNDS * AT_ONCE):8,.0f}  {name}" for cost, name in found]


def count(engine: str, features: str, turns: Callable[[EventLoop, str], object]) -> None:
    """Run a server whose loop makes the ``turns``, instead of its own."""
    server = Server(echo, "127.0.0.1:0", engine=engine, framing="u32", **FEATURES.get(features, {}))
    counted.run(server, engine, turns)


def _count_instructions(loop: EventLoop, address: str) -> None:
    library = callgrind.library()
    gc.disable()
    live(loop, address, WARM_UP_ROUNDS, contextlib.nullcontext)

    @contextlib.contextmanager
    def watched() -> Iterator[None]:
        library.toggle()
        yield
        library.toggle()

    for _ in range(BLOCKS):
        live(loop, address, ROUNDS, watched)
        library.dump(LIVES.encode())
    for _ in range(3 * ROUNDS):
        with watched():
            pass
    library.dump(NOTHING.encode())


def _count_calls(loop: EventLoop, address: str) -> None:
    """Print the functions, and how often each is called for a connection."""
    calls: Counter[str] = Counter()

    def look(frame: FrameType, event: str, argument: Any) -> None:
        if event == "call":
            code = frame.f_code
            path = Path(code.co_filename)
            calls[f"{path.parent.name}/{path.name}: {code.co_qualname}"] += 1
        elif event == "c_call":
            calls[f"C: {getattr(argument, '__qualname__', argument)}"] += 1

    @contextlib.contextmanager
    def watched() -> Iterator[None]:
        sys.setprofile(look)
        yield
        sys.setprofile(None)

    live(loop, address, WARM_UP_ROUNDS, contextlib.nullcontext)
    live(loop, address, ROUNDS, watched)
    for name, number in calls.most_common():
        if number >= ROUNDS * AT_ONCE / 2 and "watched" not in name:
            print(f"{number / ROUNDS / AT_ONCE:6.1f}  {name}")


def live(
    loop: EventLoop,
    address: str,
    rounds: int,
    watched: Callable[[], contextlib.AbstractContextManager[object]],
) -> None:
    """Have so many rounds of connections live and end; each turn of ``loop`` is ``watched``."""
    host, _, port = address.rpartition(":")
    for _ in range(rounds):
        clients = [socket.create_connection((host, int(port))) for _ in range(AT_ONCE)]
        with watched():
            loop.poll(CLIENT_TIMEOUT)
        for client in clients:
            client.sendall(MESSAGE)
        with watched():
            loop.poll(CLIENT_TIMEOUT)
        for client in clients:
            if client.recv(2 * len(MESSAGE)) != MESSAGE:
                raise BenchmarkError("wrong reply")
            client.shutdown(socket.SHUT_WR)
        with watched():
            loop.poll(CLIENT_TIMEOUT)
        for client in clients:
            if client.recv(1):
                raise BenchmarkError("more than one reply")
            client.close()


def main() -> int:
    """Print the figures."""
    parser = command.parser_of("lives", __doc__)
    command.add_engines(parser)
    parser.add_argument(
        "--features", choices=[USUAL, *FEATURES], default=USUAL, help=f"that are on ({USUAL})"
    )
    parser.add_argument(
        "--functions", type=int, default=0, metavar="N", help="show so many C functions (0)"
    )
    parser.add_argument("--calls", action="store_true", help="show the Python functions")
    parser.add_argument("--counted", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    engines = command.engines(parser, options.engines)
    return command.status(lambda: _do(options, engines))


def _do(options: argparse.Namespace, engines: list[str]) -> None:
    for engine in engines:
        if options.counted or options.calls:
            turns = _count_calls if options.calls else _count_instructions
            count(engine, options.features, turns)
            continue
        number, costliest = instructions(engine, options.features, options.functions)
        print(f"{engine} engine: {number:,.0f} instructions per connection", flush=True)
        for line in costliest:
            print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
