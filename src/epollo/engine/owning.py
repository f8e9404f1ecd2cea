"""What a connection owns, and what ends with it: groups, calls, tasks, an idle timeout.

Of most connections there is nothing of it. So it stands in the loop, by connection, and not in
each connection.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from epollo.engine.delayed_calls import DelayedCall, call_later, seconds_of
from epollo.engine.groups import groups_of
from epollo.engine.pauses import HIGH_WATER
from epollo.engine.phases import PhasedConnection
from epollo.errors import ConnectionClosed, UsageError

if TYPE_CHECKING:
    from asyncio import Future, Task

Result = TypeVar("Result")

_SLOTS_OF_THE_ENGINE: tuple[str, ...] = ()


class OwningConnection(PhasedConnection):
    """The part of a connection that only its handler uses."""

    __slots__ = _SLOTS_OF_THE_ENGINE

    # Methods and data of `BaseConnection`, and of the engine:
    _call_in_loop: Callable[[Callable[[], object]], bool]
    unsent: int  # bytes
    paused: int

    # ---- Groups

    def join(self, group: str) -> None:
        """Receive messages that are published to ``group``, until `leave` or the close."""
        groups_of(self).join(group, self)

    def leave(self, group: str) -> None:
        """Receive no more messages that are published to ``group``."""
        groups_of(self).leave(group, self)

    @property
    def groups(self) -> frozenset[str]:
        """The groups it is in."""
        return groups_of(self).of(self)

    # ---- Time

    @property
    def idle_timeout(self) -> float:
        """Seconds without a byte either way after which it is closed; 0 is no timeout."""
        own = self.loop.idle_timeouts.seconds.get(self)
        return getattr(self.protocol, "idle_timeout", 0.0) if own is None else own

    @idle_timeout.setter
    def idle_timeout(self, timeout: str | float | None) -> None:
        seconds = None if timeout is None else seconds_of(timeout, "idle_timeout")
        if not self._call_in_loop(partial(self._set_idle_timeout, seconds)):
            self._set_idle_timeout(seconds)

    def _set_idle_timeout(self, seconds: float | None) -> None:
        if seconds is None:
            self.loop.idle_timeouts.forget(self)
        elif not self.closed:
            self.loop.start_ticks()
            self.loop.idle_timeouts.set(self, seconds)

    def call_later(
        self, delay: str | float, function: Callable[..., object], *arguments: object
    ) -> DelayedCall:
        """Call ``function`` with the ``arguments``, once, after ``delay``."""
        if self.closed:
            raise ConnectionClosed(f"{self!r} has ended: too late for call_later")
        run: Callable[..., object] | None = getattr(self.protocol, "run_call", None)
        make = self.run_call if run is None else partial(run, self)
        return call_later(self.loop, self, delay, function, arguments, make)

    def run_call(self, function: Callable[[], object]) -> None:
        """Call ``function`` of the handler's; what it raises ends the connection."""
        try:
            function()
        except BaseException as error:
            self.call_raised(error)

    def call_raised(self, error: BaseException) -> None:
        """A call or a task of the handler's has raised."""
        if self.takes_messages or not isinstance(error, ConnectionClosed):
            self.handler_raised(error)  # else it has only been told of the end

    # ---- Coroutines

    def create_task(
        self, coroutine: Coroutine[Any, Any, Result], *, name: str | None = None
    ) -> Task[Result]:
        """Run ``coroutine`` in a task that is cancelled when the connection is closed."""
        create: Callable[..., Task[Result]] = getattr(self.protocol, "create_task", _refuse_task)
        if not hasattr(coroutine, "throw") or not hasattr(coroutine, "close"):
            raise UsageError(
                f"create_task: {coroutine!r} is no coroutine, such as f() of an async f"
            )
        try:
            if self.closed:
                raise ConnectionClosed(f"{self!r} has ended: too late for create_task")
            return create(self, coroutine, name)
        except BaseException:
            coroutine.close()
            raise

    async def writable(self) -> None:
        """Wait until at most half of ``high_water`` is unsent."""
        from asyncio import get_running_loop

        if not self._in_loop:
            raise UsageError("writable: only in the thread of the event loop")
        low = self.protocol.limits.high_water // 2
        while self.takes_messages and self.unsent > low:
            self.paused |= HIGH_WATER  # until then it is read no more, as over that mark
            self.schedule_update()
            future: Future[None] = get_running_loop().create_future()
            writers = self.loop.writers.setdefault(self, set())
            writers.add(future)
            try:
                await future
            finally:
                writers.discard(future)
                if not writers and self.loop.writers.get(self) is writers:
                    del self.loop.writers[self]
        if not self.takes_messages:
            raise ConnectionClosed(f"{self!r} takes no messages")


def wake_writers(writers: set[Future[None]]) -> None:
    """The peer has taken enough, or the connection is closed."""
    for future in tuple(writers):
        if not future.done():
            future.set_result(None)


def _refuse_task(connection: object, *_: object) -> NoReturn:
    raise UsageError(f"create_task: {connection!r} is not served by an event loop of asyncio")
