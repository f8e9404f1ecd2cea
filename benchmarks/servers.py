"""The servers that are measured. To add one, add a row."""

import sys
from dataclasses import dataclass

from benchmarks.build import ECHO_SERVER


@dataclass(frozen=True, slots=True)
class Server:
    """A framed u32 echo server.

    Attributes:
        name: what `--only` and the results call it.
        label: what the tables call it.
        command: starts it on a free port of 127.0.0.1, from the root of the repository. The first
            line on its stdout tells the address, and SIGTERM ends it with status 0.
    """

    name: str
    label: str
    command: tuple[str, ...]


def python(module: str) -> tuple[str, ...]:
    """Make the command that runs a module, followed by its arguments, on this very Python."""
    return (sys.executable, "-m", *module.split())


def peer(name: str, label: str) -> Server:
    """Make the row of a program of the lab."""
    module = f"epollo.lab.peers.{name.replace('-', '_')}"
    return Server(name, label, python(f"{module} 0"))


LIMIT = Server("c", "C epoll (the limit)", (str(ECHO_SERVER), "0"))
EPOLLO_PYTHON = Server(
    "epollo-python",
    "epollo, Python engine",
    python("epollo serve --bind 127.0.0.1:0 --engine python --framing u32"),
)
UVLOOP_PROTOCOL = peer("uvloop-protocol", "uvloop Protocol")

SERVERS = (
    LIMIT,
    EPOLLO_PYTHON,
    UVLOOP_PROTOCOL,
    peer("uvloop-protocol-tuned", "uvloop Protocol, tuned"),
    peer("uvloop-streams", "uvloop streams"),
    peer("asyncio-protocol", "asyncio Protocol"),
    peer("asyncio-streams", "asyncio streams"),
    peer("twisted-int32", "Twisted Int32StringReceiver"),
    peer("gevent-streamserver", "gevent StreamServer"),
    peer("socketserver-threads", "socketserver, threads"),
)


def select(names: list[str]) -> tuple[Server, ...]:
    """Return the named servers in the order of the table, and the limit whether named or not.

    Raises:
        ValueError: a name is not in the table.
    """
    unknown = set(names) - {server.name for server in SERVERS}
    if unknown:
        known = ", ".join(server.name for server in SERVERS)
        raise ValueError(f"no server is called {', '.join(sorted(unknown))}; there are {known}")
    return tuple(server for server in SERVERS if server is LIMIT or server.name in names)
