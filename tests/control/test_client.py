"""The client of the control socket, and servers that are none of epollo's."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import pytest

from epollo.control.client import ControlClient
from epollo.errors import ControlError


@pytest.mark.parametrize(
    "reply",
    [b"HTTP/1.1 400 Bad Request\r\n", b"5\n", b"null\n", b'"error"\n', b"[]\n", b"[" * 60_000],
)
def test_what_is_no_object_is_no_server_of_epollo(tmp_path: Path, reply: bytes) -> None:
    path = str(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()

        def answer() -> None:
            with listener.accept()[0] as peer:
                peer.recv(1000)
                peer.sendall(reply)

        thread = threading.Thread(target=answer)
        thread.start()
        try:
            with ControlClient(path) as client, pytest.raises(ControlError, match="no server of"):
                client.ask("status")
        finally:
            thread.join()
