"""When the requests of an AsyncConnection have waited too long for their replies."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import TypeAlias

from epollo.errors import ClientTimeout

_PRUNE_FROM = 64  # deadlines

Reply: TypeAlias = asyncio.Future[bytes]


class ReplyDeadlines:
    """The deadlines of one connection's requests, with one timer for all.

    Replies that are late raise ClientTimeout; then ``on_late`` is called. Without ``match``, the
    replies that have not come are ``in_order``.
    """

    def __init__(self, name: str, in_order: deque[Reply], on_late: Callable[[], object]) -> None:
        self._name = name
        self._in_order = in_order
        self._on_late = on_late
        self._loop = asyncio.get_running_loop()
        self._timed: list[tuple[Reply, float]] = []  # some have come since
        self._prune_at = _PRUNE_FROM  # when that many are kept, those that have come are removed
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0

    def __len__(self) -> int:
        return len(self._timed)

    def add(self, reply: Reply, deadline: float) -> None:
        self._timed.append((reply, deadline))
        if len(self._timed) > self._prune_at:
            self._timed = self._still_timed()
            self._prune_at = _PRUNE_FROM + 2 * len(self._timed)
        if self._timer is None or deadline < self._timer_at:
            self._set_timer(deadline)

    def forget(self) -> None:
        """No request is open. The timer stays: the next request's deadline is later."""
        self._timed.clear()

    def clear(self) -> None:
        """The connection has ended."""
        self._timed.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _set_timer(self, deadline: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(deadline, self._expire)
        self._timer_at = deadline

    def _expire(self) -> None:
        self._timer = None
        now = self._loop.time()
        timed = self._still_timed()
        late = [reply for reply, deadline in timed if deadline <= now]
        self._timed = [each for each in timed if each[1] > now]
        for reply in late:
            if not reply.done():
                reply.set_exception(ClientTimeout(f"no reply from {self._name} in time"))
        if late:
            self._on_late()
        if self._timed:
            self._set_timer(min(deadline for _, deadline in self._timed))

    def _still_timed(self) -> list[tuple[Reply, float]]:
        """The requests whose deadlines count, with these. Without ``match`` also the cancelled
        ones whose replies have not come: the others' replies come after them."""
        due: set[Reply] = set()
        if any(reply.cancelled() for reply, _ in self._timed):
            due.update(self._in_order)
        return [each for each in self._timed if not each[0].done() or each[0] in due]
