"""Peer: asyncio, streams. Run with a port; 0 is any free port."""

from __future__ import annotations

import asyncio

from epollo.lab.peers.serving import listen_streams, run

if __name__ == "__main__":
    run("asyncio_streams", listen_streams, asyncio.new_event_loop)
