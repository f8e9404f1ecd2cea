"""protobuf's own length-prefixed messages, as its library writes and parses them."""

from __future__ import annotations

import io
import socket
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import epollo
from epollo import address
from tests.engines import Engine
from tests.interop.support import absent
from tests.support import DEADLINE, Peer

try:
    from google.protobuf import proto
    from google.protobuf.struct_pb2 import Struct
    from google.protobuf.wrappers_pb2 import BytesValue
except ImportError:
    absent("protobuf")

# One, two and three bytes of length, and the empty message, which is a length of 0.
SIZES = [0, 1, 0, *range(120, 130), 300, *range(16_376, 16_386), 1_000_000]


def test_what_it_writes_is_received_and_what_is_sent_it_parses(engine: Engine) -> None:
    requests = [BytesValue(value=bytes(size)) for size in SIZES]
    stream = io.BytesIO()
    for request in requests:
        proto.serialize_length_prefixed(request, stream)

    def answer(message: bytes) -> bytes:
        value = BytesValue.FromString(message).value
        return BytesValue(value=b"\1" * len(value)).SerializeToString()

    with engine.server(answer, framing="protobuf") as server, Peer(server.addresses[0]) as peer:
        peer.send(stream.getvalue())
        peer.end()
        replies = io.BytesIO(peer.receive_all())
    for size in SIZES:
        assert proto.parse_length_prefixed(BytesValue, replies) == BytesValue(value=b"\1" * size)
    assert proto.parse_length_prefixed(BytesValue, replies) is None


def test_its_server_and_the_client() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        ThreadPoolExecutor(1) as thread,
        epollo.connect(str(address.of(listener.getsockname())), "protobuf", DEADLINE) as client,
    ):
        serving = thread.submit(serve_one, listener)
        for number in range(100):
            request = Struct()
            request.update({"number": number, "filling": "x" * number})
            reply = Struct.FromString(client.request(request.SerializeToString()))
            assert dict(reply) == {"number": number, "filling": "x" * number, "count": number}
        client.end()
        assert list(client) == []
        serving.result(DEADLINE)


def serve_one(listener: socket.socket) -> None:
    with listener.accept()[0] as sock, sock.makefile("rwb") as stream:
        sock.settimeout(DEADLINE)
        count_requests(stream)


def count_requests(stream: Any) -> None:
    """Answer with protobuf's functions alone, until the stream ends."""
    count = 0
    while (message := proto.parse_length_prefixed(Struct, stream)) is not None:
        message.update({"count": count})
        proto.serialize_length_prefixed(message, stream)
        stream.flush()
        count += 1
