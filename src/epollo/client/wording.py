"""What both clients say about a connection that ends."""

from __future__ import annotations

from epollo.client.backoff import Attempts
from epollo.client.outstanding import MAX_OVERDUE
from epollo.client.received import MAX_UNRECEIVED
from epollo.client.stream import broken_by
from epollo.errors import ConnectError, ConnectionClosed

ENDED = "end() was called: nothing more can be sent on this connection"

OVERDUE = (
    "the replies to requests that were given up are missing; at most "
    f"{MAX_OVERDUE} identifiers are kept for them"
)

UNRECEIVED = (
    f"over {MAX_UNRECEIVED >> 20} MiB of messages without a request came and were not received; "
    "pass on_push, or call receive"
)


def closed_here(name: str) -> ConnectionClosed:
    """The error of a call that was made, or went on, after the close of its client."""
    return ConnectionClosed(f"connection to {name} is closed: closed here")


def not_ended(name: str, seconds: float | None, *, unsent: bool) -> str:
    """The server has not ended its stream in time, or (``unsent``) not taken what was sent."""
    if unsent:
        return f"{name} did not take what was sent within {seconds:g} s"
    return f"{name} did not end the connection within {seconds:g} s; what was sent may be lost"


def broken_at_close(name: str, error: OSError) -> str:
    """The connection broke during the close."""
    return f"connection to {name} is broken: {broken_by(error)}; what was sent may be lost"


def cut_at_close(name: str) -> str:
    """Two tasks closed, and the first did not wait for the server's end."""
    return f"connection to {name} is closed: another close gave up; what was sent may be lost"


def not_yet(name: str, failure: ConnectError | None, attempts: Attempts) -> ConnectError:
    """The next attempt to connect is later than the call's timeout."""
    why = (
        str(failure)
        if failure
        else (f"cannot connect to {name}: the last connection ended without a reply")
    )
    return ConnectError(f"{why}; the next attempt may be made in {attempts.remaining():.1f} s")
