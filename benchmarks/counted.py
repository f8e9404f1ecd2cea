"""A server in the process in which callgrind counts; its client is in the same thread."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any
from unittest import mock

from epollo import Server
from epollo.engine import EventLoop, new_loop
from epollo.server import timeouts

CLIENT_TIMEOUT = 60.0  # seconds; under valgrind everything takes fifty times as long

OFF: dict[str, Any] = {
    "idle_timeout": 0,
    "frame_timeout": 0,
    "write_timeout": 0,
    "slow_handler": 0,
    "access_log": "off",
}
"""Settings without which a server does nothing but to serve."""


def run(server: Server, engine: str, turns: Callable[[EventLoop, str], object]) -> None:
    """Run the server; its loop makes the ``turns``, at its address, in place of its own."""
    probe = new_loop(engine)
    probe.close()
    # Not what is done once a period: in that time callgrind serves a fiftieth of the messages.
    timeouts.LONGEST_PERIOD = 3600.0

    def make_turns(loop: EventLoop) -> None:
        _forget_time(loop)
        turns(loop, server.addresses[0])

    with mock.patch.object(type(probe), "run", make_turns):
        server.run()


def _forget_time(loop: EventLoop) -> None:
    """The clock goes on while callgrind counts: every turn, and every read, would be a slow one."""
    if loop.late_after < math.inf:
        loop.late_after = CLIENT_TIMEOUT
    if loop.slow_after < math.inf:
        loop.slow_after = CLIENT_TIMEOUT
