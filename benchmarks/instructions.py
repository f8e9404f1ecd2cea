"""Instructions that the server executes per message, as callgrind counts them in user space.

    python -m benchmarks.instructions            # all engines; compare a commit with another one
    python -m benchmarks.instructions native
    python -m benchmarks.instructions --forms  # of each form of handler
    python -m benchmarks.instructions --counting  # with all that metrics need counted and timed
    python -m benchmarks.instructions --bookkeeping  # what limits, counters and deadlines add
    python -m benchmarks.instructions --tls  # and OpenSSL's
    python -m benchmarks.instructions --framing mqtt --framing headers
    python -m benchmarks.instructions --framing benchmarks.sized:Tpkt --framing 'varied tpkt'

`python -m benchmarks.lives` counts those of a connection's life.

The count does not depend on the machine's load: two runs of the same code differ by less than 1 %.
The kernel's instructions are not part of it, nor is waiting for memory.

An echo server of the library runs under callgrind. Its client is in the same thread: it sends, the
loop makes one turn, which alone is counted, and the client receives. Frames have 68 bytes; by
default they are of u32. Depth is the number of messages per turn.
"""

import argparse
import contextlib
import gc
import socket
import ssl
import sys
from collections.abc import Callable
from typing import Any

from benchmarks import callgrind, certificate, command, compiled, counted
from benchmarks.callgrind import NOTHING
from benchmarks.counted import CLIENT_TIMEOUT, OFF
from benchmarks.errors import BenchmarkError
from benchmarks.frames import VARIED, Frames
from benchmarks.handlers import EchoOfBoth, EchoOfMessage, prompt_echo
from epollo import Server
from epollo.engine import EventLoop
from epollo.server.handlers.application import echo
from epollo.server.handlers.handler import Handler

DEPTHS = (1, 16)
BLOCKS = 5  # counts of each depth, of which the lowest is reported
TURNS = 200  # of a block
WARM_UP_TURNS = 300  # CPython specializes what runs often
FRAME_SIZE = 68  # of u32 with 64 bytes

FORMS: dict[str, Callable[[], Handler]] = {
    "a function of both": lambda: echo,
    "a function of the message": lambda: prompt_echo,
    "an object, of both": EchoOfBoth,
    "an object, of the message": EchoOfMessage,
    "compiled by Cython": compiled.load("cython_handler"),
    "compiled by mypyc": compiled.load("mypyc_handler"),
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
SECURE = "TLS"
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
BOOKKEEPING = tuple(FEATURES)
FEATURES[SECURE] = {"tls_cert": str(certificate.PEM)}
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
    options = ("--framing", spec, "--features", features, "--connections", str(connections))
    counts = callgrind.count("benchmarks.instructions", "--counted", form, engine, *options)
    overhead = counts.lowest(NOTHING)
    return {
        depth: (counts.lowest(str(depth)) - overhead) / TURNS / depth / connections
        for depth in DEPTHS
    }


def count(engine: str, form: str, spec: str, features: str, connections: int) -> None:
    """Run the server and its client in this process, which callgrind watches."""
    server = Server(
        FORMS[form](),
        "127.0.0.1:0",
        engine=engine,
        framing=spec.removeprefix(VARIED),
        **(OFF | FEATURES[features]),
    )
    frames = Frames(spec, FRAME_SIZE)
    tls = features == SECURE
    counted.run(
        server,
        engine,
        lambda loop, address: _count_turns(loop, address, frames, connections, tls),
    )


def _count_turns(
    loop: EventLoop, address: str, frames: Frames, connections: int, tls: bool
) -> None:
    library = callgrind.library()
    host, _, port = address.rpartition(":")
    with contextlib.ExitStack() as stack:
        clients = []
        for _ in range(connections):
            client = socket.create_connection((host, int(port)), CLIENT_TIMEOUT)
            loop.poll(CLIENT_TIMEOUT)  # accepts it
            clients.append(stack.enter_context(_secure(client, loop) if tls else client))
        gc.disable()
        # An allocator's pool that is filled and emptied again in each turn costs one percent more.
        # That depends on what else is in the pool, so each block finds something else there.
        ballast: list[bytes] = []
        for depth in DEPTHS:
            echo_turns(loop, clients, frames.turns(depth, WARM_UP_TURNS), nothing)
            for _ in range(BLOCKS):
                echo_turns(loop, clients, frames.turns(depth, TURNS), library.toggle)
                library.dump(str(depth).encode())
                ballast += [bytes(size) for size in range(0, 512, 8)]
        callgrind.count_nothing(library.toggle, TURNS)
        library.dump(NOTHING.encode())


def _secure(client: socket.socket, loop: EventLoop) -> ssl.SSLSocket:
    """The client's side of TLS, which shakes hands with a server in the same thread."""
    secure = certificate.client_context().wrap_socket(client, do_handshake_on_connect=False)
    secure.setblocking(False)
    while True:
        try:
            secure.do_handshake()
        except ssl.SSLWantReadError:
            loop.poll(CLIENT_TIMEOUT)
        else:
            break
    loop.poll(CLIENT_TIMEOUT)  # reads the client's last words
    secure.settimeout(CLIENT_TIMEOUT)
    return secure


def echo_turns(
    loop: EventLoop,
    clients: list[socket.socket],
    turns: list[bytes],
    toggle: Callable[[], object],
) -> None:
    poll, timeout = (
        loop.poll,
        CLIENT_TIMEOUT,
    )  # which CPython sometimes has to look up, sometimes not
    for frames in turns:
        for client in clients:
            client.sendall(frames)
        toggle()
        poll(timeout)
        toggle()
        for client in clients:
            received = b""
            while len(received) < len(frames) and (part := client.recv(len(frames))):
                received += part
            if received != frames:
                raise BenchmarkError(f"wrong reply of {len(received)} bytes")


def nothing() -> None:
    pass


def main() -> int:
    """Print the figures."""
    parser = command.parser_of("instructions", __doc__)
    command.add_engines(parser)
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
        "--tls", action="store_true", help="by TLS; the instructions of OpenSSL are counted too"
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
    engines = command.engines(parser, options.engines)
    if options.tls:
        certificate.make()
    return command.status(lambda: _do(options, engines))


def _do(options: argparse.Namespace, engines: list[str]) -> None:
    specs = options.framing or ["u32"]
    for engine in engines:
        if options.counted:
            count(engine, options.counted, specs[0], options.features, options.connections)
        elif options.bookkeeping:
            show_bookkeeping(engine, options.connections)
        else:
            _show_each(engine, specs, options)


def _show_each(engine: str, specs: list[str], options: argparse.Namespace) -> None:
    for spec in specs:
        for form in forms() if options.forms else list(FORMS)[:1]:
            what = f", {form}" * options.forms + f", {spec}" * bool(options.framing)
            features = COUNTING if options.counting else NO_FEATURES
            features = SECURE if options.tls else features
            _show(engine, what, instructions(engine, form, spec, features, options.connections))


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
    for features in BOOKKEEPING:
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
