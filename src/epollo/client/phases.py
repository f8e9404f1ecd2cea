"""What both clients check before the framing changes, or TLS begins."""

from __future__ import annotations

from epollo.client.stream import Stream
from epollo.errors import PhaseError, TLSHandshakeError


def check_phase(what: str, *, reconnects: bool, waiting: bool) -> None:
    """Raises PhaseError if it cannot be told which messages come behind the change."""
    if reconnects:
        raise PhaseError(f"{what}: a new connection would begin without it; leave reconnect out")
    if waiting:
        raise PhaseError(f"{what}: replies are still to come; take them first")


def plain_behind(name: str, stream: Stream, unreceived: int) -> TLSHandshakeError | None:
    """The error for what came in plain behind the reply, if something did: it is not encrypted, and
    anyone could have added it to be taken for the server's, once TLS is in use."""
    if unreceived or stream.partial:
        return TLSHandshakeError(
            f"no TLS with {name}: more came in plain behind the reply, and could be anyone's"
        )
    return None
