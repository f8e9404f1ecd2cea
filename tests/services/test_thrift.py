"""thriftpy2's client calls the functions of the stock."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

import epollo.testing
from epollo import address
from tests.engines import Engine
from tests.examples.hostile import survives
from tests.interop.support import absent
from tests.services.support import complaints, example
from tests.support import DEADLINE, ServerProcess

try:
    import thriftpy2
    from thriftpy2.rpc import make_client
    from thriftpy2.transport import TFramedTransportFactory
except ImportError:
    absent("thriftpy2")

from examples.thrift import INTERFACE, Stock

pytestmark = pytest.mark.services

interface = thriftpy2.load_fp(io.StringIO(INTERFACE), "client_thrift")


@pytest.fixture
def server(engine: Engine) -> Iterator[ServerProcess]:
    with example(engine, "thrift:Stock", "--framing", "thrift") as server:
        yield server
        assert complaints(server) == []


def stock(server: ServerProcess) -> closing[Any]:
    port = address.parse(server.address).port
    framed = TFramedTransportFactory()
    timeout = round(1000 * DEADLINE)
    return closing(
        make_client(interface.Stock, "127.0.0.1", port, trans_factory=framed, timeout=timeout)
    )


def test_functions_are_called(server: ServerProcess) -> None:
    with stock(server) as one, stock(server) as other:
        assert one.all() == {"bolt": 100, "nut": 200}
        assert one.take("bolt", 3) == 97
        one.deliver("nut", 5)  # has no result, so nothing is read before the next one's
        assert one.all() == {"bolt": 97, "nut": 205}
        assert other.take("nut", 205) == 0


def test_exceptions_of_the_interface_are_results(server: ServerProcess) -> None:
    with stock(server) as client:
        with pytest.raises(interface.NoSuchPart) as no_such:
            client.take("cog", 1)
        with pytest.raises(interface.NotEnough) as few:
            client.take("bolt", 101)
        assert (no_such.value.part, few.value.left) == ("cog", 100)
        assert client.take("bolt", 100) == 0


def call(name: bytes, *fields: bytes) -> bytes:
    head = b"\x80\x01\x00\x01" + struct.pack(">I", len(name)) + name + struct.pack(">i", 7)
    return head + b"".join(fields) + b"\0"


PART = b"\x0b\0\1" + struct.pack(">I", 4) + b"bolt"
NUMBER = b"\x08\0\2" + struct.pack(">i", 1)
MAP = b"\x0d\0\3\x0b\x0f" + struct.pack(">I4sBI", 1, b"\0\0\0\0", 8, 1) + bytes(4)


def test_no_message_makes_it_raise() -> None:
    survives(Stock(), "thrift", [call(b"take", PART, NUMBER, MAP)], [call(b"all")])


@pytest.mark.parametrize("kind", [0, 1, 5, 16, 255])
def test_a_list_of_nothing_is_not_counted_through(kind: int) -> None:
    """thriftpy2 alone would: two billion times."""
    nothing = b"\x0f\0\x09" + struct.pack(">BI", kind, (1 << 31) - 1)
    with epollo.testing.connect(Stock(), framing="thrift") as connection:
        assert connection.receive(call(b"take", nothing)) == []
        assert connection.closed


def test_structures_within_each_other_have_a_limit() -> None:
    with epollo.testing.connect(Stock(), framing="thrift") as connection:
        assert connection.receive(call(b"take", b"\x0c\0\x09" * 10_000, bytes(10_000))) == []
        assert connection.closed
