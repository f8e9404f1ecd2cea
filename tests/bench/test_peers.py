"""Servers of others, loaded in their own protocol, with every reply verified."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from epollo.bench import Workload, run
from epollo.engine import available
from tests.bench.modbus_peer import REGISTERS
from tests.support import DEADLINE, python

CHECK = "tests.bench.reply_checks:registers"


@pytest.fixture(params=available())
def tester(request: pytest.FixtureRequest) -> str:
    """The engine of the tester."""
    return str(request.param)


@contextmanager
def modbus() -> Iterator[str]:
    """The address of pymodbus' server."""
    with python("-m", "tests.bench.modbus_peer") as server:
        yield f"127.0.0.1:{int(server.ready_line)}"


def request(first: int, count: int) -> bytes:
    """Read ``count`` holding registers from ``first`` on."""
    pdu = b"\x03" + first.to_bytes(2, "big") + count.to_bytes(2, "big")
    return bytes(4) + (len(pdu) + 1).to_bytes(2, "big") + b"\x01" + pdu


@pytest.mark.parametrize("load", [{}, {"reconnect_every": 7}], ids=["kept", "replaced"])
def test_every_reply_of_a_modbus_server_is_verified(
    tester: str, load: dict[str, Any], tmp_path: Path
) -> None:
    """One at a time: pymodbus answers only the first of two requests that come together."""
    for first in range(0, REGISTERS, 7):
        (tmp_path / f"{first:03}").write_bytes(request(first, 5 if first < 90 else 1))
    settings: dict[str, Any] = {
        "payload": str(tmp_path),
        "payload_order": "random",
        "framing": "modbus",
        "match": "bytes(0,2,stamp)",
        "expect": CHECK,
        "connections": 3,
        "messages": 300,
        "duration": None,
        "warmup": 0,
        "timeout": DEADLINE,
        "engine": tester,
    }
    with modbus() as where:
        result = run(Workload(address=where, **settings | load))
    assert result.errors == {}
    assert result.messages == 300
