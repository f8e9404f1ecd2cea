"""Peer: asyncio, Protocol. Run with a port, 0 for any free one."""

import asyncio

from benchmarks.peers.serving import listen_protocol, run

if __name__ == "__main__":
    run("asyncio_protocol", listen_protocol, asyncio.new_event_loop)
