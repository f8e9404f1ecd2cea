"""What a Dask worker does for a share: it runs it in a process of its own, and passes on what that
says."""

from __future__ import annotations

import json
from queue import Empty, SimpleQueue
from threading import Event, Lock, Thread
from time import monotonic_ns

from distributed import get_client, get_worker

from epollo.bench.agents.agent_process import AgentProcess
from epollo.bench.agents.assignment import Assignment, version_here
from epollo.bench.agents.cluster_channel import END, STOP, ClusterChannel
from epollo.bench.agents.messages import Go, Stop

LEAD = 0.1  # seconds, from the arrival of an order until it takes effect
_TURN = 1.0  # seconds; the coordinator hears of an agent so often at least
_claims = Lock()


def run_share(text: str) -> str:
    """Run the share, a line of JSON; returns how it ended, in JSON: ``refused`` says why it was
    not run, ``ended`` how its process ended."""
    share = Assignment.of_json(text)
    if share.version != version_here():
        return _refused(f"it has epollo {version_here()}, and the share is of {share.version}")
    channel = ClusterChannel(share.run, get_client())
    if not _claim(channel, share.shard.index):
        return _refused("its share was begun before, and is not run again")
    return json.dumps({"ended": Relay(share, channel).run()})


def _claim(channel: ClusterChannel, index: int) -> bool:
    """Take a share, once."""
    with _claims:
        taken = channel.taken(index)
        if taken.is_set():
            return False
        taken.set()
    return True


def _refused(why: str) -> str:
    return json.dumps({"refused": why})


class Relay:
    """Starts the process of a share; passes its lines to the coordinator, and
    `Go` and `Stop` to it."""

    def __init__(self, share: Assignment, channel: ClusterChannel) -> None:
        self._index = share.shard.index
        self._channel = channel
        self._key = get_worker().get_current_task()
        self._worker = get_worker()
        self._lines: SimpleQueue[bytes | None] = SimpleQueue()
        self._over = Event()
        self._process = AgentProcess(share, self._lines.put)

    def run(self) -> str:
        """Until the process ends; returns how it did, in words."""
        for watch in (self._await_go, self._await_stop, self._await_end):
            Thread(target=watch, name="epollo-events", daemon=True).start()
        try:
            while self._pass_on():
                if self._is_released():
                    self._process.hang_up()
        finally:
            self._over.set()
            self._process.close()
        return self._process.ended()

    def _pass_on(self) -> bool:
        """Send what the process wrote, or nothing, once a second at least. False at its end."""
        lines: list[str] = []
        try:
            line = self._lines.get(timeout=_TURN)
            while line is not None:
                lines.append(line.decode())
                line = self._lines.get_nowait()
        except Empty:
            line = b""
        self._tell({"lines": lines})
        return line is not None

    def _tell(self, what: dict[str, object]) -> None:
        self._channel.queue.put(json.dumps({"index": self._index, **what}))

    def _await_go(self) -> None:
        for number in (1, 2):
            if not self._wait(self._channel.go(number)):
                return
            self._process.send(Go(monotonic_ns() + round(LEAD * 1e9)))
            self._tell({"began": number})

    def _await_stop(self) -> None:
        if self._wait(self._channel.event(STOP)):
            self._process.send(Stop(interrupted=True))

    def _await_end(self) -> None:
        if self._wait(self._channel.event(END)):
            self._process.hang_up()

    def _wait(self, event: object) -> bool:
        """Wait for ``event``; False if the share was over before."""
        while not self._over.is_set():
            if event.wait(timeout=_TURN):  # type: ignore[attr-defined]
                return True
        return False

    def _is_released(self) -> bool:
        """Does no one want the result any more? So it is when the coordinator is gone."""
        task = self._worker.state.tasks.get(self._key)
        return task is None or task.state in ("cancelled", "resumed", "released")
