"""What a worker process inherits of its supervisor's, for itself."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from dataclasses import dataclass

from epollo.server.shared_counts import Cell
from epollo.workers.channel import Channel
from epollo.workers.link import PeerLink
from epollo.workers.sockets import WorkerSocket


@dataclass
class Inherited:
    """Its addresses and listening sockets; its end of the pair from which it gets the connections
    that the supervisor accepts, if that does; its end of the channel, and of the link with each
    other worker; its cell of the counts of connections."""

    sockets: Sequence[WorkerSocket]
    pair: socket.socket | None
    channel: Channel
    links: Sequence[PeerLink]
    cell: Cell | None
