"""Peer: uvloop, Protocol. Run with a port, 0 for any free one."""

import uvloop

from benchmarks.peers.serving import listen_protocol, run

if __name__ == "__main__":
    run("uvloop_protocol", listen_protocol, uvloop.new_event_loop)
