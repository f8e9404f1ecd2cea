"""Peer: uvloop, Protocol. Run with a port; 0 is any free port."""

from __future__ import annotations

import uvloop

from epollo.lab.peers.protocol import FramedEcho
from epollo.lab.peers.serving import listen_protocol, run

if __name__ == "__main__":
    run("uvloop_protocol", listen_protocol(FramedEcho), uvloop.new_event_loop)
