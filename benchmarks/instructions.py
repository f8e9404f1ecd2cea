"""Instructions that the server executes per message, as callgrind counts them in user space.

    python -m benchmarks.instructions            # all engines; compare a commit with another one
    python -m benchmarks.instructions native
    python -m benchmarks.instructions --forms  # of each form of handler
    python -m benchmarks.instructions --counting  # with all that metrics need counted and timed
    python -m benchmarks.instructions --bookkeeping  # what limits, counters and deadlines add
    python -m benchmarks.instructions --framing mqtt --framing headers
    python -m benchmarks.instructions --framing benchmarks.sized:Tpkt --framing 'varied tpkt'

The count does not depend on the machine's load: two runs of the same code differ by less than 1 %.
The kernel's instructions are not part of it, nor is waiting for memory.

An echo server of the library runs under callgrind. Its client is in the same thread: it sends, the
loop makes one turn, which alone is counted, and the client receives. Frames have 68 bytes; by
default they are of u32. Depth is the number of messages per turn.
"""

import argparse
import contextlib
import ctypes
import gc
import math
import os
import re
import shutil
import socket
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest import mock

from benchmarks import build, compiled
from benchmarks.errors import BenchmarkError
from benchmarks.handlers import EchoOfBoth, EchoOfMessage, prompt_echo
from benchmarks.sized import Numbered, Tpkt
from epollo import Server
from epollo import framing as framings
from epollo.bench.load.length_inside import LengthInside, is_length_inside
from epollo.engine import EventLoop, available, new_loop
from epollo.errors import EncodeError, FramingSpecError
from epollo.server import timeouts
from epollo.server.handlers.application import echo
from epollo.server.handlers.handler import Handler

DEPTHS = (1, 16)
BLOCKS = 5  # counts of each depth, of which the lowest is reported
TURNS = 200  # of a block
WARM_UP_TURNS = 300  # CPython specializes what runs often
FRAME_SIZE = 68  # of u32 with 64 bytes
CLIENT_TIMEOUT = 60.0  # seconds; under valgrind everything takes fifty times as long
NOTHING = "nothing"
VARIED = "varied "

_NAME = re.compile(r"^desc: Trigger: Client Request: (.+)$", re.MULTILINE)
_TOTAL = re.compile(r"^(?:totals|summary): (\d+)", re.MULTILINE)


FORMS: dict[str, Callable[[], Handler]] = {
    "a function of both": lambda: echo,
    "a function of the message": lambda: prompt_echo,
    "an object, of both": EchoOfBoth,
    "an object, of the message": EchoOfMessage,
    "compiled by Cython": compiled.load("cython_handler"),
    "compiled by mypyc": compiled.load("mypyc_handler"),
}


OFF: dict[str, Any] = {
    "idle_timeout": 0,
    "frame_timeout": 0,
    "write_timeout": 0,
    "slow_handler": 0,
    "access_log": "off",
}
NO_FEATURES = "nothing"
COUNTING = "counters"
EVERYTHING = "everything"
FEATURES: dict[str, dict[str, Any]] = {
    NO_FEATURES: {},
    COUNTING: {"access_log": "log"},
    "deadlines": {"idle_timeout": 3600, "frame_timeout": 3600, "write_timeout": 3600},
    "slow handlers": {"slow_handler": 60},
    "connections": {
        "max_connections": 1000,
        "max_per_ip": 1000,
        "max_connect_rate_per_ip": 1000,
    },
    "message rate": {"max_message_rate": 1_000_000},
}
"""What a server may be told to count or to limit, with limits that are never reached. The bounds of
memory, which have no off, are on in all."""

ALL_BUT_RATE = "everything but the message rate"  # which looks at the clock for each message
FEATURES[ALL_BUT_RATE] = {
    name: value
    for features, settings in FEATURES.items()
    if features != "message rate"
    for name, value in settings.items()
}
FEATURES[EVERYTHING] = FEATURES[ALL_BUT_RATE] | FEATURES["message rate"]
MOST_ADDED = 0.03  # of the instructions, by everything


def instructions(
    engine: str,
    form: str = "a function of both",
    spec: str = "u32",
    features: str = NO_FEATURES,
    connections: int = 1,
) -> dict[int, float]:
    """Return the instructions per message by depth, for a handler of the ``form``, a framing, some
    ``FEATURES``, and so many connections that have messages in each turn.

    Raises:
        BenchmarkError: valgrind, its headers or a C compiler is missing, or the run failed.
    """
    valgrind = shutil.which("valgrind")
    if valgrind is None:
        raise BenchmarkError("no valgrind, which counts the instructions: apt install valgrind")
    build.build_library(build.CALLGRIND)
    with TemporaryDirectory() as folder:
        output = f"--callgrind-out-file={folder}/out"
        callgrind = [valgrind, "-q", "--tool=callgrind", "--collect-atstart=no", output]
        child = [sys.executable, "-m", "benchmarks.instructions", "--counted", form, engine]
        child += ["--framing", spec, "--features", features, "--connections", str(connections)]
        run(callgrind + child)
        totals: dict[str, list[int]] = defaultdict(list)
        for path in Path(folder).glob("out.*"):
            name, total = read(path)
            totals[name].append(total)
    if len(totals[NOTHING]) != 1:
        raise BenchmarkError("callgrind has written no counts")
    overhead = totals[NOTHING][0]
    return {
        depth: (min(totals[str(depth)]) - overhead) / TURNS / depth / connections
        for depth in DEPTHS
    }


def run(command: list[str]) -> None:
    """Run the command, quietly when it succeeds."""
    environment = {**os.environ, "PYTHONHASHSEED": "0"}
    completed = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False
    )
    if completed.returncode != 0:
        last = (completed.stderr.strip().splitlines() or ["no word on stderr"])[-1]
        raise BenchmarkError(f"valgrind ended with status {completed.returncode}: {last}")


def read(path: Path) -> tuple[str, int]:
    """Return the name and the total of one of callgrind's files."""
    text = path.read_text()
    name, total = _NAME.search(text), _TOTAL.search(text)
    return name[1] if name else "", int(total[1]) if total else 0


def a_frame(spec: str, wanted: int = FRAME_SIZE, number: int = 0) -> bytes:
    """A frame of that framing, of ``wanted`` bytes; those of another number differ, if they can."""
    framing = framings.parse(spec)
    if isinstance(framing, Tpkt | Numbered):
        return framing.frame(wanted, number)
    fill = b"%c" % (0x61 + number % 26)
    for size in range(wanted, 0, -1):
        with contextlib.suppress(EncodeError):
            message = fill * size
            if is_length_inside(framing):
                message = LengthInside(lambda *_: fill * wanted, framing).message(0, 0, 0)
            frame = framing.encode(message)
            if len(frame) == wanted:
                return frame
    raise BenchmarkError(f"no frame of {spec} has {wanted} bytes")


class Frames:
    """The frames of each turn: all alike; or those of ``varied SPEC`` of 60 to 75 bytes, and other
    bytes in the next turn."""

    def __init__(self, spec: str) -> None:
        self._varied = spec.startswith(VARIED)
        self._spec = spec.removeprefix(VARIED)
        self._number = 0

    def turns(self, depth: int, count: int) -> list[bytes]:
        """Those of the next ``count`` turns of ``depth``."""
        if not self._varied:
            return [a_frame(self._spec) * depth] * count
        return [self._turn(depth) for _ in range(count)]

    def _turn(self, depth: int) -> bytes:
        self._number += depth
        numbers = range(self._number, self._number + depth)
        return b"".join(a_frame(self._spec, 60 + number % 16, number) for number in numbers)


def count(engine: str, form: str, spec: str, features: str, connections: int) -> None:
    """Run the server and its client in this process, which callgrind watches."""
    probe = new_loop(engine)
    probe.close()
    # Not what is done once a period: in that time callgrind serves a fiftieth of the messages.
    timeouts.LONGEST_PERIOD = 3600.0
    server = Server(
        FORMS[form](),
        "127.0.0.1:0",
        engine=engine,
        framing=spec.removeprefix(VARIED),
        **(OFF | FEATURES[features]),
    )
    with mock.patch.object(
        type(probe),
        "run",
        lambda loop: _count_turns(loop, server.addresses[0], Frames(spec), connections),
    ):
        server.run()


def _count_turns(loop: EventLoop, address: str, frames: Frames, connections: int) -> None:
    library = ctypes.CDLL(str(build.CALLGRIND))
    # The clock goes on while callgrind counts: every turn, and every read, would be a slow one.
    if loop.late_after < math.inf:
        loop.late_after = loop.slow_after = CLIENT_TIMEOUT
    host, _, port = address.rpartition(":")
    with contextlib.ExitStack() as stack:
        clients = []
        for _ in range(connections):
            client = socket.create_connection((host, int(port)), CLIENT_TIMEOUT)
            clients.append(stack.enter_context(client))
            loop.poll(CLIENT_TIMEOUT)  # accepts it
        gc.disable()
        # An allocator's pool that is filled and emptied again in each turn costs one percent more.
        # That depends on what else is in the pool, so each block finds something else there.
        ballast: list[bytes] = []
        for depth in DEPTHS:
            _echo_turns(loop, clients, frames.turns(depth, WARM_UP_TURNS), _nothing)
            for _ in range(BLOCKS):
                _echo_turns(loop, clients, frames.turns(depth, TURNS), library.toggle)
                library.dump(str(depth).encode())
                ballast += [bytes(size) for size in range(0, 512, 8)]
        for _ in range(TURNS):
            library.toggle()
            library.toggle()
        library.dump(NOTHING.encode())


def _echo_turns(
    loop: EventLoop,
    clients: list[socket.socket],
    turns: list[bytes],
    toggle: Callable[[], object],
) -> None:
    poll = loop.poll
    for frames in turns:
        for client in clients:
            client.sendall(frames)
        toggle()
        poll(CLIENT_TIMEOUT)
        toggle()
        for client in clients:
            received = client.recv(len(frames), socket.MSG_WAITALL)
            if received != frames:
                raise BenchmarkError(f"wrong reply of {len(received)} bytes")


def _nothing() -> None:
    pass


def main() -> int:
    """Print the figures."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.instructions",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("engines", nargs="*", help=f"of {', '.join(available())}; default: all")
    parser.add_argument(
        "--forms", action="store_true", help="of each form of handler, not only the built-in echo"
    )
    parser.add_argument(
        "--counting",
        action="store_true",
        help="with all that is counted and timed for metrics, --control and --access-log",
    )
    parser.add_argument(
        "--bookkeeping",
        action="store_true",
        help="of everything that a server may count and limit, and what each adds",
    )
    parser.add_argument(
        "--framing",
        action="append",
        metavar="SPEC",
        help="of this framing; after 'varied ', with frames that differ; may be repeated (u32)",
    )
    parser.add_argument("--counted", choices=FORMS, help=argparse.SUPPRESS)
    parser.add_argument("--features", choices=FEATURES, help=argparse.SUPPRESS)
    parser.add_argument(
        "--connections", type=int, default=1, help="that have messages in each turn (1)"
    )
    options = parser.parse_args()
    unknown = set(options.engines) - set(available())
    if unknown:
        parser.error(f"no engine {', '.join(sorted(unknown))}; there are {', '.join(available())}")
    specs = options.framing or ["u32"]
    try:
        for engine in options.engines or available():
            if options.counted:
                count(engine, options.counted, specs[0], options.features, options.connections)
                continue
            if options.bookkeeping:
                show_bookkeeping(engine, options.connections)
                continue
            for spec in specs:
                for form in forms() if options.forms else list(FORMS)[:1]:
                    what = f", {form}" * options.forms + f", {spec}" * bool(options.framing)
                    features = COUNTING if options.counting else NO_FEATURES
                    counts = instructions(engine, form, spec, features, options.connections)
                    _show(engine, what, counts)
    except (BenchmarkError, FramingSpecError) as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 1
    return 0


def forms() -> list[str]:
    """Return the forms of handler that there can be here: of compiled ones, if their compiler is
    installed."""
    compilers = {"compiled by Cython": "cython_handler", "compiled by mypyc": "mypyc_handler"}
    return [
        form for form in FORMS if form not in compilers or compiled.missing(compilers[form]) is None
    ]


def show_bookkeeping(engine: str, connections: int) -> None:
    """Print what each of the features adds, and all of them."""
    base = instructions(engine, connections=connections)
    _show(engine, f", {NO_FEATURES} on", base)
    for features in FEATURES:
        if features != NO_FEATURES:
            counts = instructions(engine, features=features, connections=connections)
            for depth, number in counts.items():
                added = number / base[depth] - 1
                verdict = ""
                if features in (EVERYTHING, ALL_BUT_RATE):
                    kept = "met" if added <= MOST_ADDED else "NOT met"
                    verdict = f"; at most {MOST_ADDED:.0%}: {kept}"
                text = f"{number:,.0f} instructions per message, {added:+.1%}{verdict}"
                print(f"{engine} engine, {features} on, depth {depth}: {text}", flush=True)


def _show(engine: str, form: str, by_depth: dict[int, float]) -> None:
    for depth, number in by_depth.items():
        print(
            f"{engine} engine{form}, depth {depth}: {number:,.0f} instructions per message",
            flush=True,
        )


if __name__ == "__main__":
    sys.exit(main())
