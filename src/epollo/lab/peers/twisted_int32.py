"""Peer: Twisted, Int32StringReceiver on the epoll reactor. Run with a port; 0 is any free port."""

from __future__ import annotations

from twisted.internet import epollreactor
from twisted.internet.protocol import Factory
from twisted.protocols.basic import Int32StringReceiver

from epollo.lab.peers.handler import handle
from epollo.lab.peers.serving import BACKLOG, HOST, port_argument, print_ready


class _FramedEcho(Int32StringReceiver):
    """One connection; Twisted decodes its frames."""

    MAX_LENGTH = 16 << 20  # bytes; Twisted's own default is 99,999

    def connectionMade(self) -> None:  # noqa: N802
        self.transport.setTcpNoDelay(True)

    def stringReceived(self, string: bytes) -> None:  # noqa: N802
        self.sendString(handle(string))


def main() -> None:
    """Serve until SIGTERM."""
    epollreactor.install()
    from twisted.internet import reactor  # the installed one

    factory = Factory.forProtocol(_FramedEcho)
    port = reactor.listenTCP(port_argument(), factory, backlog=BACKLOG, interface=HOST)
    print_ready("twisted_int32", port.getHost().port)
    reactor.run()


if __name__ == "__main__":
    main()
