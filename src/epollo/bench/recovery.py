"""What a search does before its runs: find a rate to begin with, and wait until the server has
recovered from the run before."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from time import monotonic, sleep
from typing import Any, TypeAlias

from epollo.bench.results.result import Result
from epollo.bench.workload import Workload
from epollo.errors import ConnectError

Run: TypeAlias = Callable[[Workload], Result]

MOST_SECONDS = 60.0  # for a server to recover
_TRIAL_SECONDS = 0.5
_PAUSE_SECONDS = 0.1  # after a trial without a reply


def gentle_rate(workload: Workload, run: Run) -> float | None:
    """Half the rate at which one connection is answered, one message after the other; None if it
    is not answered at all. A server can do so much without a queue."""
    result = run(_trial(workload, duration=_TRIAL_SECONDS))
    if not result.messages or not result.response.mean:
        return None
    return float(f"{0.5e9 / result.response.mean:.3g}")


def recovers(workload: Workload, run: Run, most: float = MOST_SECONDS) -> bool:
    """Wait until the server answers a single message within the timeout: a server that answers in
    order has then answered all before it. False if it does not within ``most`` seconds, or if the
    user ends the wait."""
    end = monotonic() + most
    while (left := end - monotonic()) > 0:
        try:
            result = run(_trial(workload, duration=None, messages=1, timeout=left))
        except ConnectError:
            result = None
        if result is not None and result.interrupted:
            return False
        if result is None or not result.messages:
            sleep(min(left, _PAUSE_SECONDS))
        elif result.response.maximum <= workload.timeout * 1e9:
            return True
    return False


def _trial(workload: Workload, **changes: Any) -> Workload:
    """One connection in a closed loop."""
    alone: dict[str, Any] = {"connections": 1, "processes": 1, "warmup": 0.0, "rate": None}
    alone |= {"arrival": "constant", "reconnect_every": None, "connection_rate": None}
    return replace(workload, **alone | changes)
