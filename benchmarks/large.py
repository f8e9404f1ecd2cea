"""CPU time and page faults of a large message, on servers in turns.

    python -m benchmarks.large [--size 1MiB] [--rounds 5] [--seconds 1]

100 connections echo messages at depth 1. `epollo serve` has malloc keep the memory of messages that
are done (`epollo.server.allocator`); a Server in a program of yours leaves malloc as it is. Both
figures are right on a busy machine too, but they spread: how much glibc returns to the kernel
depends on how many messages are freed at a time.
"""

import sys
from dataclasses import replace
from functools import partial

from benchmarks import build, load, machine, quiet
from benchmarks.command import parser_of, status
from benchmarks.load import Window
from benchmarks.markdown import table, whole
from benchmarks.process import serving
from benchmarks.samples import figure
from benchmarks.servers import LIMIT, NATIVE, PYTHON, Server
from epollo.engine import available
from epollo.units import parse_size

CONNECTIONS = 100
ATTEMPTS = 2  # of a sample in which one side had no core
PROGRAM = """
import sys, epollo
server = epollo.Server(bind="127.0.0.1:0", engine=sys.argv[1], max_frame="64MiB")
server.start()
print(server.ready_line, flush=True)
server.run()
"""


def of_a_program(server: Server, engine: str) -> Server:
    """Make the row of an engine in a Server of a user's program."""
    command = (sys.executable, "-c", PROGRAM, engine)
    return replace(server, label=f"{server.label}, in a program of yours", command=command)


def served(server: Server) -> Server:
    """Make the row of an engine in `epollo serve`."""
    command = (*server.command, "--max-frame", "64MiB")
    return replace(server, label=f"{server.label}, `epollo serve`", command=command)


def servers() -> list[Server]:
    """Return those that can be run here."""
    engines = {"native": NATIVE, "python": PYTHON}
    return [LIMIT] + [
        row
        for engine, server in engines.items()
        if engine in available()
        for row in (served(server), of_a_program(server, engine))
    ]


def measure(server: Server, core: int, size: int, window: Window) -> dict[str, float]:
    """Return what one server takes."""
    with serving(server, core) as running:
        return load.closed_loop(running, CONNECTIONS, 1, size, window)


def compare(size: int, rounds: int, seconds: float) -> None:
    """Print the table."""
    build.build(build.LOAD)
    build.build(build.ECHO_SERVER)
    server_core, load_core = machine.cores()
    window = Window(seconds, 0.4, load_core)
    samples: dict[str, list[dict[str, float]]] = {}
    for _ in range(rounds):
        for server in servers():
            values = quiet.quietest(partial(measure, server, server_core, size, window), ATTEMPTS)
            samples.setdefault(server.label, []).append(values)
    rows = [
        [label, *(whole(figure([each[name] for each in found])) for name in ("cpu_us", "faults"))]
        for label, found in samples.items()
    ]
    print(table(["server", "CPU of a message, µs", "page faults"], rows))


def main() -> int:
    """Compare the servers."""
    parser = parser_of("large", __doc__)
    parser.add_argument("--size", type=parse_size, default="1MiB", help="of a message")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0, help="of each server in a round")
    options = parser.parse_args()
    return status(lambda: compare(options.size, options.rounds, options.seconds))


if __name__ == "__main__":
    sys.exit(main())
