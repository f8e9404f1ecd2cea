"""What cannot be run is refused before it starts, with the name of the thing and the fix."""

from __future__ import annotations

import math
import pickle
from pathlib import Path
from typing import Any

import pytest

from epollo import Server, UsageError, framing
from epollo.bench import Result, Workload, run
from tests.support import DEADLINE


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"address": "8091"}, "bad address '8091': no host; write 127.0.0.1:8091"),
        ({"connections": 0}, "connections: must be at least 1"),
        ({"depth": 0}, "depth: must be at least 1"),
        ({"messages": 0}, "messages: must be at least 1"),
        ({"duration": 0}, "duration: must be above 0"),
        ({"timeout": 0}, "timeout: must be above 0"),
        ({"warmup": -1}, "warmup: must be at least 0"),
        ({"duration": math.nan}, "duration: must be finite"),
        ({"timeout": math.inf}, "timeout: must be finite"),
        ({"duration": 1e11}, "duration: must be at most 1000000000 seconds"),
        ({"warmup": 1e11}, "warmup: must be at most 1000000000 seconds"),
        ({"rate": "1/99999999999"}, "rate: its steps must be at most 1000000000 seconds together"),
        ({"connections": 10**20}, "connections: must be at most 1000000000000000"),
        ({"messages": 10**20}, "messages: must be at most 1000000000000000"),
        ({"rate": math.inf}, "rate: inf must be above 0, and finite"),
        ({"duration": None}, "duration: needed if messages is not given"),
        ({"address": "fd://3"}, "cannot connect to fd://3: a descriptor is for a server"),
        ({"size": -1}, "is not a size such as"),
        ({"size": 2 << 30}, "size: must be at most 1 GiB"),
        ({"size": 256, "framing": "u8"}, "size: message of 256 bytes is longer than a u8"),
        ({"size": 65536, "framing": "u16le"}, "longer than a u16le length can say; use another"),
        ({"framing": "u33"}, "unknown framing 'u33': did you mean u32?"),
        (
            {"framing": "fixed:65"},
            "size: message of 64 bytes; fixed:65 takes 65; use another",
        ),
        ({"expect": "none"}, "expect: none is only for an open loop; give a rate too"),
        (
            {"expect": "none", "rate": 10, "match": "bytes(0,1)"},
            "match: there are no replies to ma",
        ),
        ({"framing": "modbus", "size": 5}, "size: message of 5 bytes is shorter than the 6"),
        (
            {"framing": "length(size=2,offset=2,strip=2)"},
            "expect: with length(size=2,offset=2,strip=2), replies come without their first 2 byte",
        ),
        ({"framing": "delimiter:--"}, "framing: the messages may contain b'--'; use a"),
        ({"framing": "delimiter:x\\n"}, "such as delimiter:\\0"),
        ({"framing": "raw"}, "framing: raw has no messages to time; use u32, line"),
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


# -- values of a wrong type


def takes_any(message: bytes, reply: bytes) -> bool:
    """A function passed itself, where `expect` takes its name."""
    return bool(message or reply)


ODD: list[dict[str, Any]] = [
    {"address": ("127.0.0.1", 8091)},
    {"address": None},
    {"address": b"127.0.0.1:8091"},
    {"connections": "2"},
    {"messages": "10"},
    {"duration": "1s"},
    {"warmup": "1s"},
    {"warmup": None},
    {"depth": None},
    {"rate": [1000]},
    {"rate": b"1000"},
    {"think": "1ms"},
    {"reconnect_every": "2"},
    {"connection_rate": "5"},
    {"payload": Path(__file__)},
    {"payload": "a\0b"},
    {"template": b"{number}"},
    {"expect": takes_any},
    {"expect": None},
    {"match": len},
    {"match": None},
    {"greeting": "1"},
    {"preamble": b"login"},
    {"preamble_replies": None},
    {"framing": framing.parse("u32")},
    {"framing": None},
    {"framing": b"u32"},
    {"timeout": "1s"},
    {"timeout": None},
    {"source": None},
    {"source": (1,)},
    {"tls": True, "tls_ca": "any", "server_name": 5},
    {"tls": True, "tls_ca": "a\0b"},
    {"processes": "2"},
]


def kind(changes: dict[str, Any]) -> str:
    """The name of the last field, and the type of its value."""
    name, value = list(changes.items())[-1]
    return f"{name}-{type(value).__name__}"


@pytest.mark.parametrize("changes", ODD, ids=kind)
def test_what_a_field_cannot_have_is_refused_in_one_line_before_the_run(
    changes: dict[str, Any],
) -> None:
    """Or it is accepted: then the result has it, and can be read again."""
    load: dict[str, Any] = {"connections": 2, "messages": 4, "duration": None, "warmup": 0}
    said = ""
    with Server(lambda message: message, "127.0.0.1:0") as server:
        load |= {"address": server.addresses[0], "timeout": DEADLINE}
        try:
            result = run(Workload(**load | changes))
        except UsageError as error:
            said = str(error)
        else:
            assert Result.from_json(result.to_json()).sent == 4
    assert "\n" not in said


@pytest.mark.parametrize(
    "changes",
    [
        {"connections": 2.5},
        {"messages": 2.5},
        {"depth": 1.5},
        {"reconnect_every": 2.5},
        {"seed": [1]},
    ],
    ids=kind,
)
def test_a_count_that_is_not_whole_or_an_invalid_seed_is_refused(
    changes: dict[str, Any],
) -> None:
    with pytest.raises(UsageError, match=f"^{next(iter(changes))}: "):
        Workload(**{"address": "127.0.0.1:8091"} | changes)


@pytest.mark.parametrize(
    "changes", [{"framing": framing.parse("u32")}, {"expect": lambda *_: True}], ids=kind
)
def test_what_other_processes_cannot_be_given_is_refused_before_they_are_started(
    changes: dict[str, Any],
) -> None:
    said = ""
    try:
        load = Workload(address="127.0.0.1:8091", processes=2, **changes)
    except UsageError as error:
        said = str(error)
    else:
        assert pickle.loads(pickle.dumps(load)) == load  # noqa: S301
    assert "\n" not in said
