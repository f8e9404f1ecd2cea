"""The servers that are measured. To add one, add a row."""

import sys
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from importlib.util import find_spec

from benchmarks import certificate
from benchmarks.build import ECHO_SERVER
from epollo.engine import available
from epollo.lab.peers import PEERS


@dataclass(frozen=True, slots=True)
class Server:
    """A framed u32 echo server.

    Attributes:
        name: what `--only` and the results call it.
        label: what the tables call it.
        command: starts it on a free port of 127.0.0.1, from the root of the repository. The first
            line on its stdout tells the address, and SIGTERM ends it with status 0.
        missing: why it cannot be run here; None: it can.
        tls: whether it is spoken to by TLS.
    """

    name: str
    label: str
    command: tuple[str, ...]
    missing: str | None = None
    tls: bool = False


def epollo(engine: str, label: str, variant: str = "", *options: str) -> Server:
    """Make the row of an engine. One command for all points: the largest has 1 MiB messages."""
    serve = f"serve --bind 127.0.0.1:0 --engine {engine} --framing u32 --max-frame 2MiB".split()
    command = (sys.executable, "-m", "epollo", *serve, *options)
    missing = None if engine in available() else "this installation does not have it"
    name = f"epollo-{engine}" + (f"-{variant}" if variant else "")
    label = f"epollo, {label} engine" + (f", {variant}" if variant else "")
    return Server(name, label, command, missing, tls="--tls-cert" in options)


LIMIT = Server("c", "C epoll (the limit)", (str(ECHO_SERVER), "0"))
IN_PLACE = Server("c-in-place", "C epoll, no call and no copy", (str(ECHO_SERVER), "0", "in-place"))
NATIVE = epollo("native", "native")
PYTHON = epollo("python", "Python")


def form(engine: Server, name: str, label: str, handler: str) -> Server:
    """Make the row of a form of handler; a compiled one is in `examples/compiled`."""
    return replace(
        engine,
        name=f"{engine.name}-{name}",
        label=f"{engine.label}, {label}",
        command=(*engine.command, handler),
    )


FORMS = tuple(
    form(engine, name, label, f"benchmarks.handlers:{handler}")
    for engine in (NATIVE, PYTHON)
    for name, label, handler in (
        ("both", "handle(message, connection)", "echo_of_both"),
        ("message", "handle(message)", "prompt_echo"),
        ("object-both", "object, received(message, connection)", "EchoOfBoth"),
        ("object-message", "object, received(message)", "EchoOfMessage"),
    )
)
"""Every form of handler that returns its reply at once."""

EVERY_LIMIT = (
    "--max-connections 1m --max-per-ip 1m --idle-timeout 1m --frame-timeout 30s"
    " --write-timeout 30s --slow-handler 100ms"
)
NO_LIMIT = "--idle-timeout 0 --frame-timeout 0 --write-timeout 0 --slow-handler 0"
LIMITED = {
    NATIVE: epollo("native", "native", "limited", *EVERY_LIMIT.split()),
    PYTHON: epollo("python", "Python", "limited", *EVERY_LIMIT.split()),
}
UNLIMITED = {
    NATIVE: epollo("native", "native", "unlimited", *NO_LIMIT.split()),
    PYTHON: epollo("python", "Python", "unlimited", *NO_LIMIT.split()),
}
"""The bounds of memory, which have no off, are on in both."""

TLS_OPTIONS = ("--tls-cert", str(certificate.PEM))
NATIVE_TLS = epollo("native", "native", "TLS", *TLS_OPTIONS)
PYTHON_TLS = epollo("python", "Python", "TLS", *TLS_OPTIONS)


def tls_peer(name: str, label: str, *needed: str) -> Server:
    """Make the row of a peer that speaks TLS: the transports of ``name`` under one Protocol."""
    program = "benchmarks.peers.programs.tls_protocol"
    command = (sys.executable, "-m", program, name, "0", str(certificate.PEM))
    missing = [each for each in needed if find_spec(each) is None]
    reason = f"pip install {' '.join(missing)}" if missing else None
    return Server(f"{name}-tls", label, command, reason, tls=True)


AIOFASTNET_TLS = tls_peer("aiofastnet", "aiofastnet on uvloop, TLS", "aiofastnet", "uvloop")
UVLOOP_TLS = tls_peer("uvloop", "uvloop Protocol, tuned, TLS", "aiofastnet", "uvloop")
PEER_SERVERS = tuple(
    Server(
        peer.name,
        peer.label,
        peer.command,
        None if peer.installed else f"pip install {peer.needs}",
    )
    for peer in PEERS
)
SERVERS = (LIMIT, IN_PLACE, NATIVE, PYTHON, *PEER_SERVERS)

BY_NAME = {server.name: server for server in SERVERS}
UVLOOP_PROTOCOL = BY_NAME["uvloop-protocol"]
UVLOOP_TUNED = BY_NAME["uvloop-protocol-tuned"]
UVLOOP_STREAMS = BY_NAME["uvloop-streams"]
ASYNCIO_PROTOCOL = BY_NAME["asyncio-protocol"]
ASYNCIO_STREAMS = BY_NAME["asyncio-streams"]


def waiting(name: str, label: str, handler: str, *options: str) -> Server:
    """Make the row of a handler that may wait, on the engine that `auto` takes."""
    serve = f"serve --bind 127.0.0.1:0 --framing u32 benchmarks.handlers:{handler}".split()
    return Server(name, label, (sys.executable, "-m", "epollo", *serve, *options))


ASYNC_ON_ASYNCIO = waiting("async-asyncio", "async echo on asyncio", "echo", "--loop", "asyncio")
ASYNC_ON_UVLOOP = waiting("async-uvloop", "async echo on uvloop", "echo", "--loop", "uvloop")
BLOCKING = waiting("threads", "echo in 8 threads, each 1 ms", "slow_echo", "--threads", "8")
"""These have a part of their own: the other tables compare servers, not kinds of handler."""


def select(names: Iterable[str]) -> tuple[Server, ...]:
    """Return the named servers in the order of the table, and the limit whether named or not.

    `native` and `python` are short for epollo's engines.

    Raises:
        ValueError: a name is not in the table.
    """
    wanted = {f"epollo-{name}" if name in ("native", "python") else name for name in names}
    unknown = wanted - BY_NAME.keys()
    if unknown:
        known = ", ".join(BY_NAME)
        raise ValueError(f"no server is called {', '.join(sorted(unknown))}; there are {known}")
    return tuple(server for server in SERVERS if server is LIMIT or server.name in wanted)


def runnable(servers: Iterable[Server], among: Collection[Server] = SERVERS) -> list[Server]:
    """Return those of the servers that can be run here and are `among` the wanted ones."""
    return [server for server in servers if server.missing is None and server in among]
