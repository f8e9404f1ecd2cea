"""What tests share: a raw peer, a handler that remembers, a server as a process."""

from __future__ import annotations

import fcntl
import gc
import io
import logging
import os
import queue
import re
import resource
import selectors
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import tracemalloc
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import chdir, contextmanager, redirect_stderr, redirect_stdout
from functools import cached_property
from pathlib import Path
from typing import IO, Any, Self
from unittest import mock

import pytest

from epollo import CloseReason, Connection, Server, address
from epollo.cli.main import main
from tests.logs import SLOW

DEADLINE = 30.0  # seconds; for events that come in milliseconds where nothing is wrong


def needed_by_python() -> dict[str, str]:
    """The variables for a process that is given no others: where modules are, and where bytecode
    is kept, which is among the sources by default."""
    names = ("PATH", "PYTHONPATH", "PYTHONPYCACHEPREFIX", "PYTHONDONTWRITEBYTECODE")
    return {name: os.environ.get(name, "") for name in names}


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


def frame(message: bytes) -> bytes:
    """A u32 frame, made without the code under test."""
    return struct.pack(">I", len(message)) + message


def messages_in(data: bytes) -> list[bytes]:
    """Those in whole u32 frames, cut without the code under test."""
    messages, at = [], 0
    while at < len(data):
        end = at + 4 + int.from_bytes(data[at : at + 4], "big")
        messages.append(data[at + 4 : end])
        at = end
    return messages


FUTEX = ("202", "98")  # the system call's number on x86 and on ARM


def until(condition: Callable[[], object]) -> None:
    """Wait for ``condition``, that another thread brings about; fails when the deadline passes."""
    late = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < late, "the deadline passed"
        time.sleep(0.001)


def stop_process(pid: int) -> None:
    """SIGSTOP; returns once no thread of it runs. On a busy machine that takes a while."""
    os.kill(pid, signal.SIGSTOP)
    threads = Path(f"/proc/{pid}/task")
    until(lambda: all(_is_stopped(thread) for thread in threads.glob("*")))


def _is_stopped(thread: Path) -> bool:
    """Is it stopped, or gone?"""
    try:
        return (thread / "stat").read_text().rpartition(")")[2].split()[0] == "T"
    except (FileNotFoundError, ProcessLookupError):
        return True


def closed(server: Server, reason: CloseReason) -> int:
    """How many connections were closed for ``reason``; waits until one was."""
    until(lambda: server.counters.closed[reason])
    return server.counters.closed[reason]


def reset_when_closed(sock: socket.socket) -> None:
    """Its close will be a RST (SO_LINGER of 0, socket(7))."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@contextmanager
def unused() -> Iterator[str]:
    """An address that nobody listens on, and that is nobody else's either."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield str(address.of(bound.getsockname()))


class Bomb:
    """What unpickling runs: the reason never to do it."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> Any:
        return Path.touch, (self.trace,)


class Peer:
    """A client with no framing of its own, whose every wait has a deadline."""

    def __init__(self, to: str, receive_buffer: int | None = None, source: str = "") -> None:
        where = address.parse(to)
        family = socket.AF_UNIX if where.path else socket.AF_INET
        family = socket.AF_INET6 if ":" in where.host else family
        self.socket = socket.socket(family, socket.SOCK_STREAM)
        if receive_buffer is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(DEADLINE)
        try:
            if source:
                self.socket.bind((source, 0))
            self.socket.connect(where.path or (where.host, where.port))
        except OSError:
            self.socket.close()
            raise

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def receive(self, size: int) -> bytes:
        """Exactly ``size`` bytes, or fewer where the stream ends before."""
        data = bytearray()
        while len(data) < size and (part := self.socket.recv(min(1 << 20, size - len(data)))):
            data += part
        return bytes(data)

    def receive_all(self) -> bytes:
        """Everything until the end of the stream."""
        data = bytearray()
        while part := self.socket.recv(1 << 20):
            data += part
        return bytes(data)

    def receive_until_gone(self) -> bytes:
        """Everything until the end of the stream, or a reset: with bytes unread, a close is one."""
        data = bytearray()
        try:
            while part := self.socket.recv(1 << 20):
                data += part
        except ConnectionResetError:
            pass
        return bytes(data)

    def message(self) -> bytes:
        """The message in the next u32 frame."""
        return self.receive(struct.unpack(">I", self.receive(4))[0])

    def ask(self, message: bytes) -> bytes:
        """Send one u32 frame; the message in the frame that comes back."""
        self.send(frame(message))
        return self.message()

    def end(self) -> None:
        self.socket.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Close with a RST."""
        reset_when_closed(self.socket)
        self.socket.close()

    def close(self) -> None:
        self.socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Talking:
    """A conversation in which this side never pauses, but for what a busy machine makes of it.

    A server that stops may end it after ``quiet`` seconds of silence. Since the last question that
    it has answered was sent, no less has passed: on a busy machine that may be so at any time.
    """

    def __init__(self, peer: Peer, quiet: float, farewell: bytes = b"") -> None:
        self.ended = False
        self._peer = peer
        self._quiet = quiet
        self._farewell = farewell  # the last message of a server that ends a connection
        self._last = time.monotonic()

    def ask(self, message: bytes) -> bytes:
        """The reply; nothing once the server has ended the conversation, in a pause."""
        if self.ended:
            return b""
        asked = time.monotonic()
        try:
            reply = self._peer.ask(message)
        except (OSError, struct.error):
            reply = self._farewell
        if reply == self._farewell:
            assert time.monotonic() - self._last > self._quiet / 2  # its clock may be a coarse one
            self.ended = True
            return b""
        self._last = asked
        return reply


class Recorder:
    """An echo handler that remembers what it was told, for a test in another thread."""

    def __init__(self) -> None:
        self.opened: queue.Queue[Connection] = queue.Queue()
        self.messages: queue.Queue[bytes] = queue.Queue()
        self.ends: queue.Queue[CloseReason] = queue.Queue()

    def connected(self, connection: Connection) -> None:
        self.opened.put(connection)

    def received(self, message: bytes, connection: Connection) -> Any:
        self.messages.put(message)
        return message

    def disconnected(self, connection: Connection, reason: CloseReason) -> None:
        self.ends.put(reason)

    def connection(self) -> Connection:
        return self.opened.get(timeout=DEADLINE)

    def message(self) -> bytes:
        return self.messages.get(timeout=DEADLINE)

    def end(self) -> CloseReason:
        return self.ends.get(timeout=DEADLINE)


class ServerProcess:
    """A server in a process of its own, from the line on that says that it is ready."""

    def __init__(self, process: subprocess.Popen[str], log: IO[str]) -> None:
        self.process = process
        self._log = log
        self.ready_line = self.line()
        assert self.ready_line, f"no ready line; on stderr: {self.log}"

    @cached_property
    def addresses(self) -> list[str]:
        """Those in its ready line."""
        match = re.search(r" on (\S.*?)(?: \(|$)", self.ready_line.rstrip("\n"))
        assert match is not None, f"no address in {self.ready_line!r}"
        return match[1].split(", ")

    @property
    def address(self) -> str:
        return self.addresses[0]

    def line(self) -> str:
        """The next line on its stdout."""
        assert self.process.stdout is not None
        return line_of(self.process.stdout)

    @property
    def rss(self) -> int:
        """Resident memory in bytes."""
        with open(f"/proc/{self.process.pid}/statm") as file:  # noqa: PTH123
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    @property
    def log(self) -> list[str]:
        """The lines on its stderr until now, but for those about slow handlers: on a busy machine
        any handler is slow."""
        descriptor = self._log.fileno()  # its position is shared with those who write: pread(2)
        text = os.pread(descriptor, os.fstat(descriptor).st_size, 0).decode()
        return list(_without_slow(text.splitlines()))

    def threads(self) -> int:
        """How many it has."""
        return len(list(Path(f"/proc/{self.process.pid}/task").iterdir()))

    def sleeps(self) -> bool:
        """Does its main thread wait in a system call, and not for Python's own lock?"""
        syscall = Path(f"/proc/{self.process.pid}/syscall").read_text().split()[0]
        return syscall not in ("running", *FUTEX)

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def wait(self) -> int:
        return self.process.wait(DEADLINE)


def line_of(pipe: IO[str]) -> str:
    """The next line that a process writes to ``pipe``, and nothing behind it; less than a line if
    the stream ends or the deadline passes first."""
    line, late = b"", time.monotonic() + DEADLINE
    with selectors.DefaultSelector() as selector:
        selector.register(pipe, selectors.EVENT_READ)
        while not line.endswith(b"\n") and selector.select(max(0, late - time.monotonic())):
            byte = os.read(pipe.fileno(), 1)
            if not byte:
                break
            line += byte
    return line.decode()


def epollo(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run an ``epollo`` command to its end."""
    command = [sys.executable, "-m", "epollo", *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=60, check=False, **options
    )


def epollo_here(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """The same in this process, which saves the start of another one: for a command that is not
    interrupted and whose output is not a file's or a terminal's."""
    stdout, stderr = io.StringIO(), io.StringIO()
    with redirect_stdout(stdout), redirect_stderr(stderr), chdir(cwd or "."):
        status = run_main(*arguments)
    return subprocess.CompletedProcess(arguments, status, stdout.getvalue(), stderr.getvalue())


def run_main(*arguments: str) -> int:
    """The exit status of an ``epollo`` command in this process."""
    with (
        mock.patch.object(sys, "argv", ["epollo", *arguments]),
        _logging_restored(),
        pytest.raises(SystemExit) as exited,
    ):
        main()
    assert isinstance(exited.value.code, int)
    return exited.value.code


def _without_slow(lines: Iterable[str]) -> Iterator[str]:
    """The lines that are not about slow handlers, nor of the stack below such a line."""
    in_stack = False
    for line in lines:
        in_stack = SLOW in line or (in_stack and line.startswith(("Stack (", " ")))
        if not in_stack:
            yield line


@contextmanager
def _logging_restored() -> Iterator[None]:
    """What a command configures is for itself."""
    root, epollo = logging.getLogger(), logging.getLogger("epollo")
    before = root.level, epollo.level, root.handlers[:]
    try:
        yield
    finally:
        root.setLevel(before[0])
        epollo.setLevel(before[1])
        root.handlers[:] = before[2]


def in_a_fork(action: Callable[[], object]) -> None:
    """Call ``action`` in a process forked from this one; fails if it raises. Python 3.12 and later
    warn of a fork next to other threads, as pytest-xdist has: the child uses nothing of theirs."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if not child:
        status = 1
        try:
            action()
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0


def shim(name: str, folder: Path) -> str:
    """The library made of ``name``.c beside this file, to be preloaded into a server."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip(f"no C compiler to build {name}.c with")
    library, source = folder / f"{name}.so", Path(__file__).with_name(f"{name}.c")
    subprocess.run(
        [compiler, "-O2", "-Wall", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True
    )
    return str(library)


@contextmanager
def serving(
    *arguments: str,
    bind: str | None = "127.0.0.1:0",
    launcher: Sequence[str] = (),
    env: dict[str, str] | None = None,
    **options: Any,
) -> Iterator[ServerProcess]:
    """``epollo serve`` on a free port, ended with the context."""
    command = ["-m", "epollo", "serve", *arguments]
    if bind is not None:
        command += ["--bind", bind]
    with python(*command, launcher=launcher, env=env, **options) as server:
        yield server


@contextmanager
def python(
    *arguments: str,
    launcher: Sequence[str] = (),
    env: dict[str, str] | None = None,
    **options: Any,
) -> Iterator[ServerProcess]:
    """``python`` with these arguments, which serves until the context ends."""
    with started(*launcher, sys.executable, *arguments, env=env, **options) as server:
        yield server


@contextmanager
def started(
    *command: str | Path, env: dict[str, str] | None = None, **options: Any
) -> Iterator[ServerProcess]:
    """A command that says on stdout that it is ready, and is killed when the context ends; ``env``
    is added to the environment. Its stderr goes to a file: a pipe that nobody reads would fill up
    and stop it. It appends to that: the position is shared with those who read."""
    with (
        tempfile.TemporaryFile("a+") as log,
        subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env=os.environ | (env or {}),
            **options,
        ) as process,
    ):
        # tempfile opens it without O_APPEND: a write while this side reads would be at the start.
        fcntl.fcntl(log, fcntl.F_SETFL, fcntl.fcntl(log, fcntl.F_GETFL) | os.O_APPEND)
        try:
            yield ServerProcess(process, log)
        finally:
            process.kill()


SHORTLY = 1.5  # seconds; what a fault holds back would come within milliseconds


def happens(condition: Callable[[], object]) -> bool:
    """Wait for ``condition``, but not for longer than `SHORTLY`. False if it never holds.

    For a test that is expected to fail: `until` would wait for the whole `DEADLINE` each time.
    """
    late = time.monotonic() + SHORTLY
    while not condition():
        if time.monotonic() > late:
            return False
        time.sleep(0.001)
    return True


def fails_on(
    name: str,
    request: pytest.FixtureRequest,
    reason: str,
    raises: type[BaseException] | tuple[type[BaseException], ...] = AssertionError,
) -> None:
    """Expect the test of ``request`` to fail if its engine is the one of this ``name``."""
    if request.getfixturevalue("engine").name == name:
        mark = pytest.mark.xfail(strict=True, reason=reason, raises=raises)
        request.applymarker(mark)


@contextmanager
def memory() -> Iterator[Callable[[], int]]:
    """Counts the bytes that Python's allocators have handed out since, and not taken back."""
    gc.collect()
    tracemalloc.start()
    try:
        yield lambda: tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()


@contextmanager
def many_descriptors(count: int) -> Iterator[None]:
    """This process may open at least ``count`` descriptors; skips the test if it may not."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < count:
        pytest.skip(f"takes {count} descriptors")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, count), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def unacknowledged(end: tuple[str, int], other: tuple[str, int]) -> int:
    """Bytes that the kernel holds at this ``end`` of an IPv4 connection, though it may be closed
    there already (proc_pid_net(5): tx_queue in tcp)."""
    names = [_as_in_proc(end), _as_in_proc(other)]
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(int(row[4].partition(":")[0], 16) for row in rows if row[1:3] == names)


def _as_in_proc(name: tuple[str, int]) -> str:
    host = int.from_bytes(socket.inet_aton(name[0]), sys.byteorder)
    return f"{host:08X}:{name[1]:04X}"
