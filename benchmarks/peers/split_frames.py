"""Does a server echo frames however they are split? Asked before it is measured."""

import socket
import threading
from collections.abc import Callable, Iterator, Sequence

from benchmarks.errors import BenchmarkError

TIMEOUT = 20.0  # seconds, for any one step
LARGE = 1 << 20  # bytes
MESSAGES = (b"", b"a", b"hello", bytes(range(256)), b"", b"x" * 5000)


def frame(message: bytes) -> bytes:
    """Return a message behind its length."""
    return len(message).to_bytes(4) + message


def bytewise() -> Iterator[bytes]:
    """Yield frames in writes of one byte."""
    for byte in b"".join(map(frame, MESSAGES[:4])):
        yield bytes([byte])


def together() -> Iterator[bytes]:
    """Yield several frames in one write, and again."""
    yield b"".join(map(frame, MESSAGES)) * 50


def across() -> Iterator[bytes]:
    """Yield frames whose ends are never those of a write."""
    stream = b"".join(map(frame, MESSAGES)) * 10
    for start in range(0, len(stream), 1003):
        yield stream[start : start + 1003]


def large() -> Iterator[bytes]:
    """Yield a large frame between small ones."""
    yield frame(b"before")
    yield frame(bytes(range(256)) * (LARGE // 256)) + frame(b"behind")[:7]
    yield frame(b"behind")[7:]


CASES: dict[str, Callable[[], Iterator[bytes]]] = {
    "bytewise": bytewise,
    "several frames in a write": together,
    "frames across writes": across,
    "a large frame": large,
}


def check(port: int) -> None:
    """Send each of the cases, and compare what comes back.

    Raises:
        BenchmarkError: something else comes back, or nothing, or the connection does not end.
    """
    for name, writes in CASES.items():
        try:
            echoed(port, list(writes()))
        except (OSError, BenchmarkError) as error:
            raise BenchmarkError(f"split frames, {name}: {error}") from None


def echoed(port: int, writes: Sequence[bytes]) -> None:
    """Send the writes while the replies are read; end the stream, and expect its other end."""
    expected = b"".join(writes)
    with socket.create_connection(("127.0.0.1", port), TIMEOUT) as peer:
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        writer = threading.Thread(target=_write, args=(peer, writes), daemon=True)
        writer.start()
        received = bytearray()
        while len(received) < len(expected):
            data = peer.recv(1 << 20)
            if not data:
                raise BenchmarkError(f"the stream ended after {len(received)} bytes")
            received += data
        writer.join(TIMEOUT)
        if received != expected:
            raise BenchmarkError("the reply differs from what was sent")
        peer.shutdown(socket.SHUT_WR)
        if peer.recv(1):
            raise BenchmarkError("more came back than was sent")


def _write(peer: socket.socket, writes: Sequence[bytes]) -> None:
    try:
        for data in writes:
            peer.sendall(data)
    except OSError:
        pass  # the reader is told of it
