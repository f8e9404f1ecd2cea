"""Instructions that the native engine executes per message, framing by framing, as ratios to u32.

    python -m benchmarks.framings                      # all of them: four minutes of CPU time
    python -m benchmarks.framings line mllp headers    # some
    python -m benchmarks.framings --engine python
    python -m benchmarks.framings --copies line    # the handler returns a copy of the message

The echo server, the counting and the client are those of `benchmarks.instructions`: decoding, a
handler in Python and encoding, with 16 frames a turn. Frames of a column have the same size in
every framing. In the first columns all frames are alike; in the last one each has another size than
the one before (60 to 75 bytes), and other bytes, also in its header if the protocol has a number
there. The handler returns the message itself, which needs no check before it is sent; a copy needs
one. `raw` is missing: its messages are what one read brings.

A run of all of them on the native engine writes `benchmarks/results/framings.md`, too.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import pickle
import socket
import sys
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple, TypeAlias

from benchmarks import callgrind, command, counted, machine
from benchmarks.callgrind import NOTHING
from benchmarks.counted import CLIENT_TIMEOUT, OFF
from benchmarks.errors import BenchmarkError
from benchmarks.frames import VARIED, Frames
from benchmarks.instructions import echo_turns, nothing
from epollo import Connection, Server
from epollo.engine import EventLoop, available
from epollo.framing import parse
from epollo.framing.protocols import PROTOCOLS
from epollo.server.handlers.application import echo
from epollo.server.handlers.handler import Handler

DEPTH = 16
BLOCKS = 4  # counts of each, of which the lowest is reported
TURNS = 60  # of a block
WARM_UP_TURNS = 120
AT_ONCE = 12  # framings in one process
SMALL, LARGE = 64, 1024
BASE = "u32"
RESULTS = Path(__file__).parent / "results" / "framings.md"

GENERAL = (
    *("u8", "u16", "u32", "u64", "u16le", "u32le", "u64le", "varint", "netstring"),
    *("digits(size=4)", 'digits(end=" ")', "bcd(size=2)", "ber", "fixed:N"),
    *("line", "line(end=crlf)", r"delimiter:\0", "delimiter:--", "headers"),
)
USERS = ("benchmarks.sized:Tpkt", "benchmarks.sized:Numbered")
"""Classes of a user: the frames of ``tpkt`` and ``modbus``."""

Column: TypeAlias = tuple[str, int]
"""What is before a spec, and the size of the frames."""

COLUMNS: dict[Column, str] = {
    ("", SMALL): f"{SMALL} B",
    ("", LARGE): "1 KiB",
    (VARIED, SMALL): f"{SMALL} B, each unlike the last",
}


_WHAT = f"""\
Instructions in user space that the native engine executes for a message: decoding, a handler in
Python that returns the message, and encoding, with {DEPTH} frames in a read. The first row has the
numbers; all others are ratios to it. All frames of a column have the same size in every framing. In
the last column, each has another size than the one before, and other bytes in its header.
[Speed](../../docs/speed.md#framings) says more.
"""


class Work(NamedTuple):
    """What to count: its name in the output, a framing, and the frames of each turn."""

    name: str
    spec: str
    turns: list[bytes]


def all_specs() -> dict[str, str]:
    """Every framing, and the names of protocols that are the same."""
    specs: dict[str, list[str]] = {spec: [] for spec in GENERAL}
    for name, protocol in PROTOCOLS.items():
        if protocol.framing.startswith("epollo."):
            specs[name] = []
        else:
            specs.setdefault(protocol.framing, []).append(name)
    return {spec: ", ".join(names) for spec, names in specs.items()} | dict.fromkeys(USERS, "")


def copied(message: bytes, _connection: Connection) -> bytes:
    """The handler that returns another object."""
    return message[:1] + message[1:]


def ratios(specs: Iterable[str], how: list[str]) -> Iterator[tuple[str, dict[Column, float]]]:
    """Each framing with its instructions per message, by column; those that it has no frames for
    are missing. ``how`` has the options of the process that is counted.

    Raises:
        BenchmarkError: valgrind, its headers or a C compiler is missing, or a run failed.
    """
    callgrind.check()
    left = list(specs)
    while left:
        yield from _counted(left[:AT_ONCE], how).items()
        del left[:AT_ONCE]


def _counted(specs: list[str], how: list[str]) -> dict[str, dict[Column, float]]:
    """The same, in a process of its own."""
    with TemporaryDirectory() as folder:
        work = Path(folder, "work")  # made here, as valgrind would take minutes for it
        work.write_bytes(pickle.dumps(list(_work(specs))))
        found = callgrind.count("benchmarks.framings", *how, "--counted", str(work))
    overhead = found.lowest(NOTHING)
    counts: dict[str, dict[Column, float]] = {spec: {} for spec in specs}
    for at, spec in enumerate(specs):
        for number, column in enumerate(COLUMNS):
            if found.number(_name(at, number)):
                lowest = found.lowest(_name(at, number))
                counts[spec][column] = (lowest - overhead) / TURNS / DEPTH
    return counts


def _name(at: int, column: int) -> str:
    return f"{at}.{column}"


def _work(specs: list[str]) -> Iterator[Work]:
    for at, spec in enumerate(specs):
        for number, (before, size) in enumerate(COLUMNS):
            exact = spec.replace("fixed:N", f"fixed:{size}")
            with contextlib.suppress(BenchmarkError):
                turns = Frames(before + exact, size).turns(DEPTH, WARM_UP_TURNS + BLOCKS * TURNS)
                yield Work(_name(at, number), exact, turns)


def count(work: list[Work], engine: str, handler: Handler) -> None:
    """Run the servers and their client in this process, which callgrind watches."""
    library = callgrind.library()
    gc.disable()
    for _ in range(2):
        callgrind.count_nothing(library.toggle, TURNS)
        library.dump(NOTHING.encode())
    for each in work:
        server = Server(handler, "127.0.0.1:0", engine=engine, framing=each.spec, **OFF)
        counted.run(server, engine, partial(_count_turns, each))


def _count_turns(work: Work, loop: EventLoop, address: str) -> None:
    library = callgrind.library()
    host, _, port = address.rpartition(":")
    with socket.create_connection((host, int(port)), CLIENT_TIMEOUT) as client:
        loop.poll(CLIENT_TIMEOUT)  # accepts it
        ballast: list[bytes] = []
        echo_turns(loop, [client], work.turns[:WARM_UP_TURNS], nothing)
        for start in range(WARM_UP_TURNS, len(work.turns), TURNS):
            echo_turns(loop, [client], work.turns[start : start + TURNS], library.toggle)
            library.dump(work.name.encode())
            ballast += [bytes(size) for size in range(0, 512, 8)]


def table(specs: dict[str, str], how: list[str]) -> Iterator[str]:
    """The lines of the table, in Markdown, as they are known."""
    yield f"| framing | the same | {' | '.join(COLUMNS.values())} |"
    yield f"| --- | --- |{' ---: |' * len(COLUMNS)}"
    base: dict[Column, float] = {}
    for spec, counts in ratios([BASE, *(each for each in specs if each != BASE)], how):
        base = base or counts
        cells = [
            f"{counts[column] / base[column]:.2f}" if column in counts else "" for column in COLUMNS
        ]
        if spec == BASE:
            cells = [f"{counts[column]:,.0f} instructions" for column in COLUMNS]
        yield f"| `{spec}` | {specs.get(spec, '')} | {' | '.join(cells)} |"


def page(lines: Iterable[str]) -> str:
    """The page of the results, with the table of those ``lines``."""
    facts = "".join(f"- {name}: {value}\n" for name, value in machine.describe().items())
    return (
        "# What a message costs, framing by framing\n\n"
        f"Written by `python -m benchmarks.framings`.\n\n{facts}\n{_WHAT}\n"
        + "".join(f"{line}\n" for line in lines)
    )


def main() -> int:
    """Print the table."""
    parser = command.parser_of("framings", __doc__)
    parser.add_argument("framings", nargs="*", metavar="SPEC", help="default: all")
    parser.add_argument("--engine", choices=available(), default="native", help="(native)")
    parser.add_argument("--copies", action="store_true", help="the handler returns a copy")
    parser.add_argument("--counted", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    return command.status(lambda: _do(options))


def _do(options: argparse.Namespace) -> None:
    everything = all_specs()
    specs = {spec: everything.get(spec, "") for spec in options.framings} or everything
    for spec in specs:
        parse(spec.replace("fixed:N", "fixed:1"))
    if options.counted:
        work = pickle.loads(options.counted.read_bytes())  # noqa: S301 our own
        count(work, options.engine, copied if options.copies else echo)
        return
    how = ["--engine", options.engine, *["--copies"] * options.copies]
    lines = []
    for line in table(specs, how):
        print(line, flush=True)
        lines.append(line)
    if not options.framings and how == ["--engine", "native"]:
        RESULTS.write_text(page(lines))


if __name__ == "__main__":
    sys.exit(main())
