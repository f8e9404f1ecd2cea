"""A Dask scheduler and its workers on this machine, each a process."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from tests.support import until

_READY = re.compile(r"Scheduler at: +(tcp://\S+)")
_WORKER = re.compile(r"Registered to: +tcp://\S+")
_ADDRESS = re.compile(r"Start worker at: +(tcp://\S+)")


class DaskProcess:
    """A scheduler or a worker. It writes to a file, so that it never waits for a reader."""

    def __init__(self, *arguments: str, environment: Mapping[str, str] | None = None) -> None:
        self._log = tempfile.NamedTemporaryFile(prefix="epollo-dask-", suffix=".log")  # noqa: SIM115
        self.process = subprocess.Popen(
            [sys.executable, "-m", "dask", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            cwd=tempfile.gettempdir(),
            env={**os.environ, "DASK_TEMPORARY_DIRECTORY": tempfile.gettempdir()}
            | dict(environment or {}),
        )

    def log(self) -> str:
        return Path(self._log.name).read_text(errors="replace")

    def wait_for(self, what: re.Pattern[str]) -> re.Match[str]:
        """Wait until its log has that."""
        until(lambda: what.search(self.log()) or self.process.poll() is not None)
        found = what.search(self.log())
        assert found is not None, self.log()
        return found

    def loaders(self) -> list[int]:
        """The processes of shares that it runs."""
        tasks = Path(f"/proc/{self.process.pid}/task")
        found = []
        for task in tasks.iterdir():
            with suppress(OSError):  # a thread or a process that has just ended
                for pid in (task / "children").read_text().split():
                    if b"epollo.bench.agents.child" in Path(f"/proc/{pid}/cmdline").read_bytes():
                        found.append(int(pid))
        return found

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self._log.close()


class DaskCluster:
    """A scheduler; workers come and go."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        arguments = ("--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--no-jupyter")
        self.scheduler = DaskProcess("scheduler", *arguments)
        self._stack.callback(self.scheduler.close)
        self.address: str = self.scheduler.wait_for(_READY)[1]

    def worker(
        self, address: str = "", environment: Mapping[str, str] | None = None
    ) -> tuple[str, DaskProcess]:
        """A new worker, at ``address`` if that is given; returns where it is."""
        port = address.rpartition(":")[2] or "0"
        arguments = ["--nthreads", "1", "--no-nanny", "--no-dashboard", "--host", "127.0.0.1"]
        worker = DaskProcess(
            "worker", self.address, *arguments, "--worker-port", port, environment=environment
        )
        self._stack.callback(worker.close)
        worker.wait_for(_WORKER)
        return worker.wait_for(_ADDRESS)[1], worker

    def close(self) -> None:
        self._stack.close()


@contextmanager
def dask_cluster() -> Iterator[DaskCluster]:
    cluster = DaskCluster()
    try:
        yield cluster
    finally:
        cluster.close()
