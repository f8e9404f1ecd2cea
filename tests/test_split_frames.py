"""The check that a peer passes before it is measured: a right server passes, wrong ones do not."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from benchmarks.errors import BenchmarkError
from benchmarks.peers import split_frames
from tests.engines import Engine
from tests.support import DEADLINE


@contextmanager
def wrong_server(reply: Callable[[bytes], bytes]) -> Iterator[int]:
    """A server that answers each read, whatever frames are in it; its port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            try:
                while True:
                    peer, _ = listener.accept()
                    with peer:
                        while data := peer.recv(1 << 16):
                            peer.sendall(reply(data))
            except OSError:  # the test is over, or the check has found the fault
                pass

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(DEADLINE)


def only_whole_frames(data: bytes) -> bytes:
    """Of a read, the frames that are whole; what is left is forgotten."""
    end = 0
    while len(data) - end >= 4:
        size = 4 + int.from_bytes(data[end : end + 4])
        if len(data) - end < size:
            break
        end += size
    return data[:end]


def only_the_first(data: bytes) -> bytes:
    """Of a read, the first frame."""
    return data[: 4 + int.from_bytes(data[:4])]


def test_a_server_that_is_right_passes(engine: Engine) -> None:
    with engine.server(lambda message: message, max_frame="2MiB") as server:
        split_frames.check(int(server.addresses[0].rpartition(":")[2]))


@pytest.mark.parametrize("reply", [only_whole_frames, only_the_first])
def test_a_server_that_is_wrong_does_not(
    reply: Callable[[bytes], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(split_frames, "TIMEOUT", 1.0)  # it waits for what never comes
    with wrong_server(reply) as port, pytest.raises(BenchmarkError, match=r"^split frames, "):
        split_frames.check(port)
