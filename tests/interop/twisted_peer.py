"""Twisted's receivers as one end of a connection; see support.py for what the arguments mean."""

from __future__ import annotations

import struct
import sys
from collections.abc import Iterator
from typing import IO, Any

from twisted.internet import protocol, task
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint, connectProtocol
from twisted.internet.error import ConnectionDone
from twisted.internet.stdio import StandardIO
from twisted.protocols.basic import (
    Int8StringReceiver,
    Int16StringReceiver,
    Int32StringReceiver,
    LineOnlyReceiver,
    NetstringReceiver,
)
from twisted.python.failure import Failure


class LineReceiver(LineOnlyReceiver):
    """Lines, with the names that the other receivers have."""

    def lineReceived(self, line: bytes) -> None:  # noqa: N802
        self.stringReceived(line)

    def sendString(self, string: bytes) -> None:  # noqa: N802
        self.sendLine(string)


RECEIVERS: dict[str, Any] = {
    "Int8": Int8StringReceiver,
    "Int16": Int16StringReceiver,
    "Int32": Int32StringReceiver,
    "Netstring": NetstringReceiver,
    "Line": LineReceiver,
}


def echo_with(receiver: Any) -> type[protocol.Protocol]:
    class Echo(receiver):
        def stringReceived(self, string: bytes) -> None:  # noqa: N802
            self.sendString(string)

    return Echo


def ask_with(receiver: Any, messages: list[bytes], ended: Deferred[None]) -> protocol.Protocol:
    class Ask(receiver):
        """Sends all, ends its stream, and writes down what comes until the other end does too."""

        def connectionMade(self) -> None:  # noqa: N802
            for message in messages:
                self.sendString(message)
            self.transport.loseWriteConnection()

        def stringReceived(self, string: bytes) -> None:  # noqa: N802
            sys.stdout.buffer.write(struct.pack(">I", len(string)) + string)

        def connectionLost(self, reason: Failure = protocol.connectionDone) -> None:  # noqa: N802
            sys.stdout.flush()
            ended.callback(None)

    asking: protocol.Protocol = Ask()
    return asking


class UntilEnd(protocol.Protocol):
    """Waits for the end of stdin."""

    def __init__(self) -> None:
        self.ended: Deferred[None] = Deferred()

    def connectionLost(self, reason: Failure = protocol.connectionDone) -> None:  # noqa: N802
        reason.trap(ConnectionDone)
        self.ended.callback(None)


async def serve(reactor: Any, receiver: Any) -> None:
    factory = protocol.Factory.forProtocol(echo_with(receiver))
    port = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(factory)
    print(port.getHost().port, flush=True)
    until = UntilEnd()
    StandardIO(until)
    await until.ended


async def ask(reactor: Any, receiver: Any, port: int) -> None:
    ended: Deferred[None] = Deferred()
    asking = ask_with(receiver, list(framed(sys.stdin.buffer)), ended)
    await connectProtocol(TCP4ClientEndpoint(reactor, "127.0.0.1", port), asking)
    await ended


def framed(stream: IO[bytes]) -> Iterator[bytes]:
    while header := stream.read(4):
        yield stream.read(int.from_bytes(header, "big"))


def main(reactor: Any, mode: str, name: str, port: str = "0") -> Deferred[None]:
    receiver = RECEIVERS[name]
    receiver.MAX_LENGTH = 1 << 24
    doing = serve(reactor, receiver) if mode == "server" else ask(reactor, receiver, int(port))
    return Deferred.fromCoroutine(doing)


if __name__ == "__main__":
    task.react(main, sys.argv[1:])
