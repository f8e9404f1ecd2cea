"""``--cluster``: the shares of a load run on the workers of a Dask cluster.

Dask starts the shares and carries what is said; all else is as with `--processes`. Each worker has
one share: a task that is pinned to it, and that Dask neither repeats nor moves.
"""

from __future__ import annotations

import json
import pkgutil
import socket
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from importlib.util import find_spec
from queue import Empty, SimpleQueue
from threading import Thread
from time import monotonic, monotonic_ns
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from epollo.bench.agents.assignment import Assignment, assignments, version_here
from epollo.bench.agents.messages import FromAgent, Lost, Outcome, message_of
from epollo.bench.workload import Workload
from epollo.causes import cause_of
from epollo.errors import EpolloError, UsageError

if TYPE_CHECKING:
    from distributed import Client, Future

    from epollo.bench.agents.cluster_channel import ClusterChannel

_CONNECT = 10.0  # seconds
_READY = 60.0  # seconds, until a worker has begun its share
_SILENCE = 30.0  # seconds, after which an agent is lost that tells nothing: it does once a second
_WAIT = 0.2  # seconds
_LOOK = 1.0  # seconds between two looks at which workers are there
_CLOSED = ""  # instead of what an agent tells
_ENDED = ("finished", "error", "lost", "cancelled")


class Cluster:
    """`Agents` of a Dask cluster: as many of its workers as the load has connections. They share no
    clock: each begins so long after it has the order to, and the round trip of the order bounds
    how much later one may begin than another.

    An agent is lost with its worker, or if it says nothing for half a minute. Its share is
    cancelled; a worker that is given it again refuses it.
    """

    outlived: bool = True

    def __init__(self) -> None:
        self.names: Sequence[str] = ()
        self.shares: list[Assignment] = []
        self._client: Client | None = None
        self._channel: ClusterChannel | None = None
        self._listener: Listener | None = None
        self._agents: list[ClusterAgent] = []
        self._phase = 0
        self._stop: bool | None = None  # whether the user interrupts
        self._stopped = False
        self._looked = 0.0

    def start(self, workload: Workload, figures: bool) -> None:
        check_installed()
        from epollo.bench.agents.cluster_channel import ClusterChannel

        self._client = _connected(workload.cluster)
        workers = self._workers()
        if not workers:
            raise EpolloError(
                f"cluster: {workload.cluster} has no workers; start some: dask worker "
                f"{workload.cluster} --nthreads 1"
            )
        workers = workers[: min(workload.connections, workload.messages or len(workers))]
        _check_versions(self._client, workers)
        self.names = [f"worker {address}" for address in workers]
        self.shares = list(assignments(workload, len(workers), figures))
        self._channel = ClusterChannel(self.shares[0].run, self._client)
        self._listener = Listener(self._channel)
        for address, share in zip(workers, self.shares, strict=True):
            self._agents.append(ClusterAgent(self._client, address, share))

    def receive(self) -> Iterator[tuple[int, FromAgent]]:
        self._send_stop()
        found = self._next()
        if found is not None:
            agent = self._agents[found["index"]]
            agent.last_told = monotonic()
            if "began" in found:
                agent.has_order(found["at"])
            for line in found.get("lines", ()):
                yield from self._told(found["index"], line)
        elif monotonic() > self._looked + _LOOK:
            self._looked = monotonic()
            yield from self._lost()

    def go(self, indexes: Sequence[int]) -> None:
        self._phase += 1
        now = monotonic_ns()
        for index in indexes:
            self._agents[index].ordered_at = now
        assert self._channel is not None
        self._channel.go(self._phase).set()

    def stop(self, interrupted: bool) -> None:
        self._stop = interrupted  # `receive` sends it: a signal handler must not wait

    def round_trip(self, index: int) -> float | None:
        return self._agents[index].round_trip

    def close(self) -> None:
        if self._client is None:
            return
        with suppress(OSError, RuntimeError):  # the scheduler may be gone, or a worker hang
            if self._channel is not None:
                self._end(self._channel)
        self._client.close(timeout=_CONNECT)

    def _end(self, channel: ClusterChannel) -> None:
        """End the shares that still run, and remove what the run has left on the scheduler, but the
        marks of the shares that were begun."""
        from epollo.bench.agents.cluster_channel import END, STOP

        assert self._client is not None
        channel.event(END).set()
        futures = [agent.future for agent in self._agents if not agent.is_lost]
        end = monotonic() + _CONNECT
        for future in futures:
            with suppress(TimeoutError):  # only to wait: what it raised no longer matters
                future.exception(timeout=max(0.0, end - monotonic()))
        self._client.cancel(futures)
        for event in (channel.event(END), channel.event(STOP), channel.go(1), channel.go(2)):
            event.clear()
        if self._listener is not None:
            self._listener.close()

    def _told(self, index: int, line: str) -> Iterator[tuple[int, FromAgent]]:
        message = message_of(line)
        agent = self._agents[index]
        if isinstance(message, Outcome):
            agent.is_over = True
            if self._stop is False:  # the agents do not know why
                message = agent.uninterrupted(message)
        agent.is_begun = True
        yield index, message

    def _next(self) -> dict[str, Any] | None:
        """What an agent told next; None if there is nothing for a moment. Raises EpolloError if the
        scheduler is gone."""
        assert self._listener is not None
        found = self._listener.next(_WAIT)
        if found is None and self._client is not None and self._client.status != "running":
            raise self._disconnected()
        return found

    def _disconnected(self) -> EpolloError:
        return EpolloError("cluster: the connection to the scheduler was lost; run it again")

    def _send_stop(self) -> None:
        if self._stop is not None and not self._stopped:
            from epollo.bench.agents.cluster_channel import STOP

            assert self._channel is not None
            self._stopped = True
            self._channel.event(STOP).set()

    def _lost(self) -> Iterator[tuple[int, Lost]]:
        """The agents that are gone without a result. To be called when nothing more is in the
        queue."""
        there = self._workers()
        for index, agent in enumerate(self._agents):
            why = agent.why_lost(there)
            if why:
                agent.is_lost = True
                agent.future.cancel()
                yield index, Lost(why)

    def _workers(self) -> list[str]:
        """Their addresses, in an order that does not change."""
        assert self._client is not None
        try:
            return sorted(self._client.nthreads())
        except (OSError, RuntimeError) as error:
            raise self._disconnected() from error


class Listener:
    """Takes what the agents tell, in a thread: so it is known at once when it came."""

    def __init__(self, channel: ClusterChannel) -> None:
        self._channel = channel
        self._found: SimpleQueue[dict[str, Any]] = SimpleQueue()
        self._thread = Thread(target=self._take, name="epollo-cluster", daemon=True)
        self._thread.start()

    def next(self, timeout: float) -> dict[str, Any] | None:
        """The next thing told; None if there is nothing for that many seconds."""
        with suppress(Empty):
            return self._found.get(timeout=timeout)
        return None

    def close(self) -> None:
        """Take no more."""
        self._channel.queue.put(_CLOSED)
        self._thread.join(_CONNECT)
        self._channel.queue.close()

    def _take(self) -> None:
        # An error means that the scheduler is gone, which the client's status says too.
        with suppress(Exception):
            while (text := self._channel.queue.get()) != _CLOSED:
                self._found.put({**json.loads(text), "at": monotonic_ns()})


class ClusterAgent:
    """One worker, and its share as a task."""

    def __init__(self, client: Client, address: str, share: Assignment) -> None:
        from epollo.bench.agents.cluster_task import run_share

        self.address = address
        self.last_told: float = monotonic()
        self.is_begun: bool = False
        self.is_over: bool = False
        self.is_lost: bool = False
        self.ordered_at: int = 0  # ns
        self.round_trip: float | None = None
        self.future: Future[str] = client.submit(
            run_share,
            share.to_json(),
            key=f"epollo-{share.run}-{share.shard.index}",
            workers=[address],
            allow_other_workers=False,
            retries=0,
            pure=False,
        )

    def has_order(self, at: int) -> None:
        """It has told that it has the last order; that was known ``at`` ns."""
        self.round_trip = (at - self.ordered_at) / 1e9

    def uninterrupted(self, outcome: Outcome) -> Outcome:
        """The outcome of a run that was ended early, but by no user."""
        return replace(outcome, result=replace(outcome.result, interrupted=False))

    def why_lost(self, there: Sequence[str]) -> str:
        """Why it is gone, in words; empty if it is not."""
        if self.is_over or self.is_lost:
            return ""
        if self.future.status in _ENDED:
            return self._ending()
        if self.address not in there:
            return "is gone: its worker died, or lost the scheduler"
        silent = monotonic() - self.last_told
        if not self.is_begun and silent > _READY:
            return f"did not begin within {_READY:g} s: it has other tasks, or cannot start Python"
        if self.is_begun and silent > _SILENCE:
            return f"said nothing for {_SILENCE:g} s: it hangs, or lost the network"
        return ""

    def _ending(self) -> str:
        if self.future.status != "finished":
            error = self.future.exception(timeout=_CONNECT) if self.future.status == "error" else ""
            return f"failed: {error or self.future.status}"
        ending: dict[str, str] = json.loads(self.future.result(timeout=_CONNECT))
        if "refused" in ending:
            return f"refused its share: {ending['refused']}"
        return f"has no result: its process {ending['ended']}; see the log of the worker"


def check_installed() -> None:
    """Raises UsageError without the package that runs the shares."""
    if find_spec("distributed") is None:
        raise UsageError("--cluster needs distributed: pip install 'epollo[cluster]'")


def _connected(address: str) -> Client:
    """A client of the scheduler. Raises EpolloError."""
    from distributed import Client

    try:
        _check_reachable(address)
        return Client(address, timeout=_CONNECT, set_as_default=False)
    except (OSError, ValueError, RuntimeError) as error:
        raise EpolloError(
            f"cluster: cannot reach the scheduler at {address}: {cause_of(error)}; start it: "
            "dask scheduler"
        ) from error


def _check_reachable(address: str) -> None:
    """Raises OSError and ValueError; a Client that cannot connect would leave a thread behind."""
    place = urlsplit(address)
    socket.create_connection((place.hostname, place.port or 0), _CONNECT).close()


def _check_versions(client: Client, workers: Sequence[str]) -> None:
    """Raises EpolloError if a worker has another epollo, or none."""
    found = client.run(
        pkgutil.resolve_name, "epollo:__version__", workers=list(workers), on_error="return"
    )
    for address in workers:
        version = found.get(address)
        if isinstance(version, BaseException) or version is None:
            raise EpolloError(
                f"cluster: worker {address} has no epollo; install {version_here()} there"
            )
        if version != version_here():
            raise EpolloError(
                f"cluster: worker {address} has epollo {version}, and this is epollo "
                f"{version_here()}; install the same on both"
            )
