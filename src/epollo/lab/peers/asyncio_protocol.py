"""Peer: asyncio, Protocol. Run with a port; 0 is any free port."""

from __future__ import annotations

import asyncio

from epollo.lab.peers.protocol import FramedEcho
from epollo.lab.peers.serving import listen_protocol, run

if __name__ == "__main__":
    run("asyncio_protocol", listen_protocol(FramedEcho), asyncio.new_event_loop)
