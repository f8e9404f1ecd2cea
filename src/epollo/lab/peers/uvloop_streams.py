"""Peer: uvloop, streams. Run with a port; 0 is any free port."""

from __future__ import annotations

import uvloop

from epollo.lab.peers.serving import listen_streams, run

if __name__ == "__main__":
    run("uvloop_streams", listen_streams, uvloop.new_event_loop)
