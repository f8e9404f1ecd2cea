"""The server of ``postgres.py`` on Twisted, to be compared with it."""

from __future__ import annotations

import sys
from pathlib import Path

from twisted.internet import reactor, ssl
from twisted.internet.protocol import Factory, Protocol

from examples.postgres_messages import GSS_REQUEST, SSL_REQUEST, WELCOME, answers_to

MOST = 1 << 20  # bytes of a message


class Postgres(Protocol):
    def __init__(self) -> None:
        self.held = b""
        self.typed = False

    def dataReceived(self, data: bytes) -> None:
        self.held += data
        while (begin := 1 if self.typed else 0) + 4 <= len(self.held):
            size = begin + int.from_bytes(self.held[begin : begin + 4], "big")
            if not begin + 4 <= size <= MOST:
                self.transport.abortConnection()
                return
            if len(self.held) < size:
                return
            message, self.held = self.held[:size], self.held[size:]
            self.received(message if self.typed else message[4:])

    def received(self, message: bytes) -> None:
        if self.typed:
            self.transport.writeSequence(answers_to(message))
        elif message[:4] in (SSL_REQUEST, GSS_REQUEST):
            self.transport.write(b"S" if message == SSL_REQUEST else b"N")
            if message == SSL_REQUEST and self.held:  # or what is there counts as encrypted
                self.transport.abortConnection()
            elif message == SSL_REQUEST:
                self.transport.startTLS(certificate)
        else:
            self.typed = True
            self.transport.writeSequence(WELCOME)


if __name__ == "__main__":
    (host, _, port), cert, key = sys.argv[1].rpartition(":"), *sys.argv[2:]
    pem = Path(cert).read_text() + Path(key).read_text()
    certificate = ssl.PrivateCertificate.loadPEM(pem).options()
    listening = reactor.listenTCP(int(port), Factory.forProtocol(Postgres), interface=host)
    print(f"serving on {listening.getHost().host}:{listening.getHost().port}", flush=True)
    reactor.run()
