"""Connecting to an address."""

from __future__ import annotations

import pytest

from epollo import address
from epollo.errors import AddressError, ConnectFailed


def test_nothing_listening_is_named() -> None:
    with address.listen(address.parse("127.0.0.1:0"), 1) as closed:
        free = address.of(closed.getsockname())
    with pytest.raises(ConnectFailed, match=f"cannot connect to {free}: connection refused"):
        address.connect(free, 1)


def test_a_descriptor_is_no_place_to_connect_to() -> None:
    with pytest.raises(
        AddressError, match="cannot connect to fd://3: a descriptor is for a server"
    ):
        address.connect(address.parse("fd://3"), 1)
