"""What the coordinator of a run and its agents on a Dask cluster tell each other, through the
scheduler: events, which are set once, and a queue of texts."""

from __future__ import annotations

from distributed import Client, Event, Queue

END = "end"
STOP = "stop"


class ClusterChannel:
    """The events and the queue of the run of that name, for one side of it."""

    def __init__(self, run: str, client: Client) -> None:
        self._run = run
        self._client = client
        self.queue: Queue = Queue(self._name("lines"), client=client)

    def event(self, name: str) -> Event:
        """`STOP`: end early; `END`: end now."""
        return Event(self._name(name), client=self._client)

    def go(self, number: int) -> Event:
        """Continue after the phase of that number."""
        return self.event(f"go-{number}")

    def taken(self, index: int) -> Event:
        """The share of that index has been begun, and is never begun again. It stays set until the
        scheduler ends, because that may give a task to a worker again."""
        return self.event(f"taken-{index}")

    def _name(self, what: str) -> str:
        return f"epollo-{self._run}-{what}"
