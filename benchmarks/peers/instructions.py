"""Instructions in user space for each message, of a server that runs under callgrind by itself.

The server is run three times with the same warm-up: with nothing more, with turns of one message,
and with turns of sixteen. The differences of the totals are those of the turns. A client that waits
for its replies makes each turn; the server cannot take two for one.
"""

import os
import signal
import socket
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks import callgrind
from benchmarks.errors import BenchmarkError
from benchmarks.instructions import DEPTHS
from benchmarks.peers.split_frames import frame
from benchmarks.process import READY, ROOT
from benchmarks.servers import Server

WARM_UP_TURNS = 300
TURNS = 2000
TIMEOUT = 120.0  # seconds; under valgrind everything takes fifty times as long
FRAME = frame(b"x" * 64)


def per_message(server: Server) -> dict[int, float]:
    """Return the instructions for each message by depth.

    Raises:
        BenchmarkError: there is no valgrind, or it cannot follow the server.
    """
    callgrind.check_valgrind()
    base = total(server, {})
    counts = {depth: (total(server, {depth: TURNS}) - base) / TURNS / depth for depth in DEPTHS}
    if not all(count > 0 for count in counts.values()):
        raise BenchmarkError(f"{server.label} under callgrind: its turns are not counted")
    return counts


def total(server: Server, turns: dict[int, int]) -> int:
    """Return the instructions of a whole run with some turns at some depths."""
    with TemporaryDirectory() as folder:
        output = Path(folder) / "out"
        counting = ["valgrind", "-q", "--tool=callgrind", f"--callgrind-out-file={output}"]
        environment = {**os.environ, "PYTHONHASHSEED": "0"}
        with subprocess.Popen(
            [*counting, *server.command],
            cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        ) as process:  # fmt: skip
            try:
                drive(process, turns)
                process.send_signal(signal.SIGTERM)
                process.wait(TIMEOUT)
            except (OSError, subprocess.TimeoutExpired, BenchmarkError) as error:
                raise BenchmarkError(f"{server.label} under callgrind: {error}") from None
            finally:
                process.kill()
        if not output.exists():
            raise BenchmarkError(f"{server.label} under callgrind: no counts")
        return callgrind.read(output).instructions


def drive(process: subprocess.Popen[str], turns: dict[int, int]) -> None:
    """Make the warm-up and the turns, on one connection."""
    assert process.stdout is not None
    ready = READY.search(process.stdout.readline())
    if ready is None:
        raise BenchmarkError("it does not start")
    with socket.create_connection(("127.0.0.1", int(ready[1])), TIMEOUT) as peer:
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for depth in DEPTHS:
            data = FRAME * depth
            for _ in range(WARM_UP_TURNS + turns.get(depth, 0)):
                peer.sendall(data)
                if receive(peer, len(data)) != data:
                    raise BenchmarkError("a wrong reply")


def receive(peer: socket.socket, size: int) -> bytes:
    """Return so many bytes; fewer if the stream ends."""
    data = b""
    while len(data) < size and (more := peer.recv(size - len(data))):
        data += more
    return data
