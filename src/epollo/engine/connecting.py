"""A connection on its way to its peer."""

from __future__ import annotations

import errno
import os
import socket
from typing import TYPE_CHECKING

from epollo.engine import CloseReason
from epollo.engine.events import READ

if TYPE_CHECKING:
    from epollo.engine.lifecycle import Lifecycle


class Connecting:
    """An outgoing connection whose connect is under way."""

    __slots__ = ("connection",)

    def __init__(self, connection: Lifecycle) -> None:
        self.connection = connection

    def ready(self, events: int) -> None:
        """connect(2): writable when it is decided, and SO_ERROR tells how."""
        connection = self.connection
        if connection.closed:  # by an earlier one of the same batch
            return
        if not events & ~READ:  # meant for the listener that had this descriptor until just now
            return
        code = connection.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            reset = code == errno.ECONNRESET  # accepted, or established, and reset at once
            reason = CloseReason.RESET if reset else CloseReason.REFUSED
            connection.drop(reason, OSError(code, os.strerror(code)))
            return
        try:
            connection.find_peer()
        except OSError as error:  # ENOTCONN: established, and reset at once
            connection.drop(CloseReason.RESET, error)
        else:
            connection.greet()

    def abort(self) -> None:
        self.connection.abort()
