"""Peer: Twisted, Int32StringReceiver on the epoll reactor. Run with a port, 0 for any free one."""

from __future__ import annotations

from twisted.internet import epollreactor
from twisted.internet.protocol import Factory
from twisted.protocols.basic import Int32StringReceiver

from epollo.lab.peers.handler import handle
from epollo.lab.peers.serving import BACKLOG, HOST, port_asked, say_ready


class FramedEcho(Int32StringReceiver):
    """One connection, its frames cut by Twisted."""

    MAX_LENGTH = 16 << 20  # bytes; Twisted's own default is 99,999

    def connectionMade(self) -> None:  # noqa: N802
        self.transport.setTcpNoDelay(True)

    def stringReceived(self, string: bytes) -> None:  # noqa: N802
        self.sendString(handle(string))


def main() -> None:
    """Serve until SIGTERM."""
    epollreactor.install()
    from twisted.internet import reactor  # which is whatever was installed

    factory = Factory.forProtocol(FramedEcho)
    port = reactor.listenTCP(port_asked(), factory, backlog=BACKLOG, interface=HOST)
    say_ready("twisted_int32", port.getHost().port)
    reactor.run()


if __name__ == "__main__":
    main()
