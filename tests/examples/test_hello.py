"""The smallest example."""

from __future__ import annotations

import epollo
from tests.examples.support import both_ways
from tests.support import ServerProcess


@both_ways("hello", "handle")
def test_it_says_hello(server: ServerProcess) -> None:
    with epollo.connect(server.address) as client:
        assert client.request(b"world") == b"hello, world"
