"""What a worker process inherits of its supervisor's, for itself."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from dataclasses import dataclass

from epollo.server.shared_counts import Cell
from epollo.workers.channel import Channel
from epollo.workers.link import PeerLink


@dataclass
class Inherited:
    """Its listening sockets, true for those that it shares with other workers; its end of the
    channel, and of the link with each other worker; its cell of the counts of connections."""

    sockets: Sequence[tuple[socket.socket, bool]]
    channel: Channel
    links: Sequence[PeerLink]
    cell: Cell | None
