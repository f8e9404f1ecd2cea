"""What cannot be run is refused before it starts, with the name of the thing and the fix."""

from __future__ import annotations

import math
from typing import Any

import pytest

from epollo import UsageError
from epollo.bench import Workload


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"address": "8091"}, "bad address '8091': no port; write HOST:PORT"),
        ({"connections": 0}, "connections: must be at least 1"),
        ({"depth": 0}, "depth: must be at least 1"),
        ({"messages": 0}, "messages: must be at least 1"),
        ({"duration": 0}, "duration and timeout: must be above 0"),
        ({"timeout": 0}, "duration and timeout: must be above 0"),
        ({"warmup": -1}, "warmup: must be at least 0"),
        ({"duration": math.nan}, "duration: must be finite"),
        ({"timeout": math.inf}, "timeout: must be finite"),
        ({"duration": 1e11}, "duration: must be at most 1000000000 seconds"),
        ({"warmup": 1e11}, "warmup: must be at most 1000000000 seconds"),
        ({"rate": "1/99999999999"}, "rate: its steps must be at most 1000000000 seconds together"),
        ({"connections": 10**20}, "connections: must be at most 1000000000000000"),
        ({"messages": 10**20}, "messages: must be at most 1000000000000000"),
        ({"rate": math.inf}, "rate: inf has to be above 0, and finite"),
        ({"duration": None}, "duration: needed where messages is not given"),
        ({"address": "fd://3"}, "cannot connect to fd://3: a descriptor is for a server"),
        ({"size": -1}, "is not a size such as"),
        ({"size": 2 << 30}, "size: must be at most 1 GiB"),
        ({"size": 256, "framing": "u8"}, "size: message of 256 bytes is longer than a u8"),
        ({"size": 65536, "framing": "u16le"}, "longer than a u16le length can say; take another"),
        ({"framing": "u33"}, "unknown framing 'u33': did you mean u32?"),
        (
            {"framing": "fixed:65"},
            "size: message of 64 bytes where fixed:65 takes 65; take another",
        ),
        ({"framing": "modbus"}, "framing: modbus writes a length into each message"),
        ({"framing": "delimiter:--"}, "framing: the text sent may have b'--' in it; take a"),
        ({"framing": "delimiter:x\\n"}, "such as delimiter:\\0"),
        ({"framing": "raw"}, "framing: raw has no messages to time; take u32, line"),
    ],
)
def test_an_impossible_workload_is_refused(changes: dict[str, Any], why: str) -> None:
    with pytest.raises(UsageError) as error:
        Workload(**{"address": "127.0.0.1:8091"} | changes)
    assert why in str(error.value)


@pytest.mark.parametrize(
    ("framing", "size"),
    [
        ("u8", 0),
        ("u8", 255),
        ("u16", 65535),
        ("u32", 5 << 20),
        ("line", 9),
        ("varint", 5 << 20),
        ("netstring", 5 << 20),
        ("delimiter:\\0", 9),
    ],
)
def test_a_message_that_the_framing_holds_is_taken(framing: str, size: int) -> None:
    load = Workload(address="unix:/tmp/socket", framing=framing, size=size)
    assert len(load.new_framing().encode(b"x" * size)) > size
