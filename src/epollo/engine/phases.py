"""Phases of a connection: from some message on it has another framing, or TLS.

A protocol may change what its frames are (PostgreSQL after its startup message, AMQP after its
header), and begin TLS on an open connection (STARTTLS). The handler says so while it handles the
message after which it is so. The bytes behind that message are cut anew; before TLS they are
refused instead, as by PostgreSQL: they were not encrypted, and anyone on the way could have added
them to be taken for the peer's (CVE-2021-23214, CVE-2011-0411).
"""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

from epollo.engine.filter_io import FilterIO
from epollo.engine.interface import ConnectionProtocol, LoopInterface, Membership
from epollo.engine.pauses import PHASE, REPLYING
from epollo.engine.replies import ReplyingConnection
from epollo.errors import ConnectionClosed, PhaseError, SettingError, TLSError
from epollo.filters.tls import TLS
from epollo.framing import Framing
from epollo.plurals import counted
from epollo.reasons import CloseReason

TLS_TIMEOUT = 10.0  # seconds, unless the protocol says otherwise

_SLOTS_OF_THE_ENGINE: tuple[str, ...] = ()

_LOOK = 0.1  # seconds between looks of a waiting thread whether the connection is closed


class PhasedConnection(ReplyingConnection):
    """The part of a connection that changes from one phase to the next."""

    __slots__ = _SLOTS_OF_THE_ENGINE

    # Methods and data of `BaseConnection`, and of the engine:
    use_context: Callable[[Any], None]
    settle_output: Callable[[], None]  # what is queued goes out as it is, before any new filter
    cut: Callable[[bytes], None]  # serve messages by the framing that holds now
    end: Callable[..., None]
    held_back: Iterable[bytes]
    filter_io: FilterIO | None
    reason: CloseReason | None
    frame_started: int
    paused: int

    if TYPE_CHECKING:

        @property
        def loop(self) -> LoopInterface: ...
        @property
        def protocol(self) -> ConnectionProtocol: ...
        @property
        def takes_messages(self) -> bool: ...
        @property
        def _in_loop(self) -> bool: ...
        def _seal(self) -> None: ...

    @property
    def framing(self) -> Framing:
        """How its messages are framed, from the next byte on."""
        return self.context.framing

    @framing.setter
    def framing(self, framing: str | Framing | type[Framing]) -> None:
        context = self.context.with_framing(framing)
        self._in_loop_now(partial(self._change_framing, context))

    def start_tls(
        self, context: ssl.SSLContext | None = None, *, timeout: float | None = None
    ) -> None:
        """Begin TLS, behind what was sent until now."""
        context = context or getattr(self.protocol, "tls_context", None)
        if context is None:
            raise SettingError(
                "start_tls: there is no certificate; pass a context, or set tls_cert"
            )
        seconds: float = timeout or getattr(self.protocol, "tls_timeout", None) or TLS_TIMEOUT
        self._in_loop_now(partial(self._start_tls, context, seconds))

    def phase_begins(self, rest: int) -> bool:
        """Are the ``rest`` bytes, which came behind the last message of the phase before, to be cut
        now?"""
        self.paused &= ~PHASE
        self.frame_started = self.loop.not_begun
        if not self.takes_messages:
            return False
        if rest and self.filter_io is not None and self.filter_io.timer is not None:
            self._refuse_plain(counted(rest, "byte"))
            return False
        return True

    def begin_phase(self, rest: Callable[[], bytes]) -> None:
        """A phase begins with the bytes that ``rest`` returns."""
        try:
            data = rest()
        except PhaseError as error:
            self.paused &= ~PHASE
            self.handler_raised(error)
        else:
            self.cut(data)

    def _change_framing(self, context: Any) -> None:
        self._check_phase("framing")
        self.loop.settle_pushes(self, partial(self._use_framing, context))
        self._await_phase()

    def _use_framing(self, context: Any) -> None:
        self.use_context(context)
        groups: Membership | None = getattr(self.protocol, "groups", None)
        if groups is not None:
            groups.reframe(self)

    def _start_tls(self, context: ssl.SSLContext, seconds: float) -> None:
        self._check_phase("start_tls")
        if self.filter_io is not None:
            raise PhaseError("start_tls: the connection has TLS already")
        if self.reason is not None:
            raise ConnectionClosed(f"{self!r} has ended: too late for start_tls")
        tls = TLS(context, seconds)
        self.loop.settle_pushes(self, self.settle_output)
        if not self.takes_messages:  # its peer has gone, or reads too slowly
            return
        late = partial(self._handshake_late, tls)
        self.filter_io = FilterIO(tls, self.loop.call_later(seconds, late))
        self._await_phase()
        if self.held_back:
            self._refuse_plain("messages")

    def _await_phase(self) -> None:
        """Cut the bytes behind anew when the handler has returned, or else at the turn's end."""
        self.paused |= PHASE
        self.schedule_update()

    def _check_phase(self, what: str) -> None:
        """Raises ConnectionClosed; and PhaseError if it cannot be told to which messages the change
        applies, and to which replies."""
        if not self.takes_messages:
            raise ConnectionClosed(f"{self!r} has ended: too late for {what}")
        if self.in_flight and self.protocol.limits.in_flight > 1:
            raise PhaseError(
                f"{what}: messages are in flight; set in_flight=1, or do it before the first await"
            )
        if self.paused & REPLYING:
            raise PhaseError(f"{what}: a reply of several messages is being sent; do it before")

    def _refuse_plain(self, what: str) -> None:
        """They came before TLS, behind the request for it."""
        text = f"{what} came in plain behind the request for TLS, and could be anyone's"
        self._seal()
        self.end(CloseReason.TLS_ERROR, TLSError(text))

    def _handshake_late(self, tls: TLS) -> None:
        if not tls.established and not self.closed:
            text = f"no TLS handshake within {tls.timeout:g} s after start_tls"
            if self.filter_io is not None and self.filter_io.waiting:
                text += "; the reply that asks for it has to be sent before start_tls"
            self.drop(CloseReason.TLS_ERROR, TLSError(text))

    def _in_loop_now(self, change: Callable[[], None]) -> None:
        """Make the ``change`` in the loop's thread, and wait for it in another one. Raises what it
        raises."""
        if self._in_loop:
            change()
            return
        made, errors = threading.Event(), []

        def call() -> None:
            try:
                change()
            except BaseException as error:
                errors.append(error)
            finally:
                made.set()

        self.loop.call_threadsafe(call)
        while not made.wait(_LOOK):
            if self.closed:
                raise ConnectionClosed(f"{self!r} has ended")
        if errors:
            raise errors.pop()
