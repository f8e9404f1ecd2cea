"""The peers of other languages, and those of Python that this benchmark alone has."""

import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from benchmarks.peers import making, versions
from benchmarks.peers.making import CRATES, FOLDER, JARS, PROGRAMS
from benchmarks.servers import BY_NAME, Server

UV_HEADER = Path("/usr/include/uv.h")


@dataclass(frozen=True, slots=True)
class Peer:
    """One of them.

    Attributes:
        server: how it is started; `missing` says what to install.
        make: compiles it.
        version: which one it is, and of which day.
        followed: can callgrind count its instructions? It cannot follow code that a program makes
            while it runs, nor the threads of Go.
    """

    server: Server
    make: Callable[[], None]
    version: Callable[[], str]
    followed: bool = False


def missing(package: str, *commands: str, files: tuple[Path, ...] = ()) -> str | None:
    """Return what to install where a command or a file is not there; None: all are."""
    there = all(map(shutil.which, commands)) and all(file.exists() for file in files)
    return None if there else f"apt install {package}"


def program(name: str) -> str:
    """Return the path of a compiled program."""
    return str(FOLDER / name)


LIBUV = Peer(
    Server("libuv", "libuv", (program("libuv_echo"), "0"),
           missing("libuv1-dev gcc", "cc", files=(UV_HEADER,))),
    making.libuv, partial(versions.of_debian, "libuv1-dev"), followed=True,
)  # fmt: skip
TOKIO = Peer(
    Server("tokio", "Rust, tokio", (program("tokio/target/release/tokio_echo"), "0"),
           missing("cargo librust-tokio-dev", "cargo", files=(CRATES,))),
    making.tokio, partial(versions.of_debian, "librust-tokio-dev"), followed=True,
)  # fmt: skip
GO = Peer(
    Server("go", "Go, a goroutine for each connection", (program("go_echo"), "0"),
           missing("golang-go", "go")),
    making.golang, partial(versions.of_command, "go", "version"),
)  # fmt: skip
NETTY = Peer(
    Server("netty", "Netty", ("java", "-cp", making.classpath(), "Echo", "0"),
           missing("libnetty-java openjdk-17-jdk-headless", "java", "javac",
                   files=(JARS / "netty-transport.jar",))),
    making.netty, partial(versions.of_debian, "libnetty-java"),
)  # fmt: skip
NODE = Peer(
    Server("node", "Node, net", ("node", str(PROGRAMS / "echo.js"), "0"),
           missing("nodejs", "node")),
    making.nothing, partial(versions.of_debian, "nodejs"),
)  # fmt: skip


def erlang(name: str, label: str, way: str) -> Peer:
    """Make the row of one way to read in Erlang. SIGTERM ends it with status 0 by itself."""
    command = ("erl", "-noinput", "-pa", str(FOLDER), "-run", "echo", "main", "0", way)
    server = Server(name, label, command, missing("erlang-base", "erl", "erlc"))
    return Peer(server, making.erlang, partial(versions.of_debian, "erlang-base"))


ERLANG = erlang("erlang", "Erlang, gen_tcp, frames cut by hand", "raw")
ERLANG_PACKET = erlang("erlang-packet", "Erlang, gen_tcp, {packet, 4}", "packet4")


def python(name: str, distribution: str) -> Peer:
    """Make the row of a peer that `epollo lab peers` has too."""
    return Peer(
        BY_NAME[name],
        making.nothing,
        partial(versions.of_distribution, distribution),
        followed=True,
    )


AIOFASTNET = Peer(
    Server("aiofastnet", "aiofastnet on uvloop, Protocol, tuned",
           (sys.executable, "-m", "benchmarks.peers.programs.aiofastnet_protocol", "0"),
           None if find_spec("aiofastnet") else "pip install aiofastnet"),
    making.nothing, partial(versions.of_distribution, "aiofastnet"), followed=True,
)  # fmt: skip

PEERS = (
    LIBUV,
    TOKIO,
    GO,
    NETTY,
    ERLANG,
    ERLANG_PACKET,
    NODE,
    AIOFASTNET,
    python("uvloop-protocol-tuned", "uvloop"),
    python("uvloop-protocol", "uvloop"),
    python("twisted-int32", "Twisted"),
    python("gevent-streamserver", "gevent"),
)
