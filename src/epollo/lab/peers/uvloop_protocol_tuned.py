"""Peer: uvloop, optimised Protocol. Run with a port; 0 is any free port."""

from __future__ import annotations

import uvloop

from epollo.lab.peers.protocol_tuned import TunedFramedEcho
from epollo.lab.peers.serving import listen_protocol, run

if __name__ == "__main__":
    run("uvloop_protocol_tuned", listen_protocol(TunedFramedEcho), uvloop.new_event_loop)
