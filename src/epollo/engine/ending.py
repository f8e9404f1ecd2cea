"""How a connection comes to its end: which reason counts, and what is still done after it.

*Ended* means that no more is read; what was received is still answered and what is queued is
still sent. *Dropped* means closed now.
"""

from __future__ import annotations

from functools import partial

from epollo.engine import CloseReason
from epollo.engine.base import ConnectionBase
from epollo.engine.stage import Stage
from epollo.errors import ConnectionClosed, FrameError, FrameTooLarge, FrameTruncated

_CLEAN_ENDS = (None, CloseReason.EOF, CloseReason.LOCAL, CloseReason.SHUTDOWN)


class Ending(ConnectionBase):
    """The ends of a connection, by whomever they are brought about."""

    __slots__ = ()

    def close(self) -> None:
        """Read no more; answer what is being handled, send what is queued, then close."""
        if not self._leave_to_loop(self.close):
            self._seal()
            self.end(CloseReason.LOCAL)

    def abort(self, reason: CloseReason = CloseReason.LOCAL) -> None:
        """Close now; what is queued is dropped."""
        if not self._leave_to_loop(partial(self.abort, reason)):
            self.drop(reason)

    def end(self, reason: CloseReason, error: BaseException | None = None) -> None:
        """Read no more, for ``reason``; the first reason is the one that counts."""
        if self.reason is None:
            self.reason = reason
            self.error = error
        self.unsettle()

    def end_of_stream(self) -> None:
        """The peer has sent its last byte. It may still be reading (half-close, shutdown(2)),
        so all that it asked for is answered before the close."""
        try:
            if self.filter_io is not None and self.filter_io.filter.partial:
                raise FrameTruncated("the stream ended inside a TLS record")
            self.check_eof()
        except FrameError as error:
            self.end(CloseReason.TRUNCATED, error)
        except BaseException as error:
            self.bad_stream(error)
        else:
            self.end(CloseReason.EOF)

    def bad_stream(self, error: BaseException) -> None:
        """The peer has sent what is no frame, so no later byte can be made sense of; or a user's
        own decoder has a bug."""
        if isinstance(error, FrameTooLarge):
            self.end(CloseReason.FRAME_TOO_LARGE, error)
        elif isinstance(error, FrameError):
            self.end(CloseReason.BAD_FRAME, error)
        else:
            self.handler_raised(error)

    def handler_failed(self, error: BaseException) -> None:
        """The handler has raised: nothing more is handed to it, what it answered is sent."""
        if self.reason in _CLEAN_ENDS:
            self.reason, self.error = CloseReason.HANDLER_ERROR, error
            self.loop.pass_on(error)
        else:
            self.loop.report(error, f"handler raised after the end ({self.reason}) of its peer")
        self._failed = True
        self._seal()
        self.unsettle()

    def handler_raised(self, error: BaseException) -> None:
        """The handler has raised, which a handler may do also after it closed its connection."""
        if not self.closed:
            self.handler_failed(error)
        elif error is self.error:  # it has closed the connection
            self.loop.pass_on(error)
        elif not isinstance(error, ConnectionClosed):  # which only tells the handler of the close
            self.loop.report(error, "handler raised after its connection was closed")

    def drop(self, reason: CloseReason | None = None, error: BaseException | None = None) -> None:
        """Close now, for ``reason`` unless it ended for a fault before.

        The descriptor is given back, and ``closed`` called, at the end of the turn.
        """
        if self.closed:
            return
        if reason is not None and self.reason in _CLEAN_ENDS:
            self.reason, self.error = reason, error
        self._seal()
        self.stage = Stage.CLOSED
        self.discard()
        self.loop.bury(self)

    def abandon(self) -> None:
        """It could not be started: close it, and tell nobody."""
        self._seal()
        self.stage = Stage.CLOSED
        self.release()

    def _seal(self) -> None:
        """Hand nothing more to the handler, and take nothing more to send."""
        self._inbox = ()
        self._sealed = self._holding = True
