"""Servers of others, loaded in their own protocol, with every reply verified."""

from __future__ import annotations

import os
import shutil
import struct
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pymongo
import pytest

from benchmarks.third_party import servers
from benchmarks.third_party.testers import SOCKPERF_FRAMING, sockperf_message
from epollo.bench import Result, Workload, run
from epollo.engine import available
from tests.bench import peers
from tests.bench.modbus_peer import REGISTERS
from tests.bench.mongodb_peer import message
from tests.bench.reply_checks import redis_value
from tests.interop.support import absent
from tests.support import DEADLINE, Peer

CHECKS = "tests.bench.reply_checks"
MESSAGES = 300
MYSQL = "length(size=3,adjust=1,order=little)"

depths = pytest.mark.parametrize("load", [{}, {"depth": 8}], ids=["alone", "pipelined"])


@pytest.fixture(params=available())
def tester(request: pytest.FixtureRequest) -> str:
    """The engine of the tester."""
    return str(request.param)


def verified(where: str, tester: str, expect: str, **load: Any) -> Result:
    """A run in which each reply was verified, and was correct."""
    settings: dict[str, Any] = {
        "expect": f"{CHECKS}:{expect}" if expect != "echo" else expect,
        "connections": 3,
        "messages": MESSAGES,
        "duration": None,
        "warmup": 0,
        "timeout": DEADLINE,
        "engine": tester,
    }
    result = run(Workload(address=where, **settings | load))
    assert result.errors == {}
    assert result.messages == MESSAGES
    return result


def files(folder: Path, contents: list[bytes]) -> str:
    """A folder with a file for each message."""
    for number, content in enumerate(contents):
        (folder / f"{number:04}").write_bytes(content)
    return str(folder)


# -- Modbus, pymodbus' server


def registers(first: int, count: int) -> bytes:
    """Read ``count`` holding registers from ``first`` on."""
    pdu = b"\x03" + first.to_bytes(2, "big") + count.to_bytes(2, "big")
    return bytes(4) + (len(pdu) + 1).to_bytes(2, "big") + b"\x01" + pdu


@pytest.mark.parametrize("load", [{}, {"reconnect_every": 7}], ids=["kept", "replaced"])
def test_every_reply_of_a_modbus_server_is_verified(
    tester: str, load: dict[str, Any], tmp_path: Path
) -> None:
    """One at a time: pymodbus answers only the first of two requests that come together."""
    requests = [registers(n, 5 if n < 90 else 1) for n in range(0, REGISTERS, 7)]
    load |= {"payload": files(tmp_path, requests), "payload_order": "random", "framing": "modbus"}
    with peers.modbus() as where:
        verified(where, tester, "registers", match="bytes(0,2,stamp)", **load)


# -- redis-server


@pytest.fixture(scope="module")
def redis() -> Iterator[str]:
    with peers.redis() as where:
        yield where


def flush(where: str) -> None:
    with Peer(where) as peer:
        peer.send(b"FLUSHALL\r\n")
        assert peer.receive(5) == b"+OK\r\n"


@depths
def test_every_increment_of_redis_is_verified(
    tester: str, load: dict[str, Any], redis: str
) -> None:
    """Each connection counts for itself, and each reply has to be one more than the last."""
    flush(redis)
    verified(redis, tester, "Increments", framing="line", template="INCR of{connection}", **load)


@depths
def test_every_value_of_redis_is_verified(
    tester: str, load: dict[str, Any], redis: str, tmp_path: Path
) -> None:
    """A bulk reply is two lines, the value may be anything: requests and replies of one size are
    frames of that size. Each key has a value of its own."""
    keys = [b"%057d" % number for number in range(50)]
    with Peer(redis) as peer:
        for key in keys:
            peer.send(b"*3\r\n$3\r\nSET\r\n$57\r\n%b\r\n$57\r\n%b\r\n" % (key, redis_value(key)))
            assert peer.receive(5) == b"+OK\r\n"
    load |= {"payload": files(tmp_path, [b"GET %b \r\n" % key for key in keys])}
    verified(redis, tester, "redis_bulk", framing="fixed:64", payload_order="random", **load)


def test_another_client_of_redis_is_noticed(tester: str, redis: str) -> None:
    """It increments once: the replies behind it are one too high."""
    flush(redis)
    with Peer(redis) as peer:
        peer.send(b"INCR of0\r\n")
        assert peer.receive(4) == b":1\r\n"
    load = {"framing": "line", "template": "INCR of{connection}", "messages": 30, "duration": None}
    check = f"{CHECKS}:Increments"
    result = run(
        Workload(address=redis, connections=1, warmup=0, expect=check, engine=tester, **load)  # type: ignore[arg-type]
    )
    assert result.errors == {"wrong_bytes": 30}


# -- MySQL, MariaDB's server


@pytest.fixture(scope="module")
def mysql() -> Iterator[str]:
    with peers.mysql() as where:
        yield where


def login(user: bytes) -> bytes:
    """The client's half of MySQL's handshake: version 4.1, no password."""
    capabilities = 0x0001 | 0x0200 | 0x8000  # long password, protocol 4.1, secure connection
    head = capabilities.to_bytes(4, "little") + (1 << 24).to_bytes(4, "little") + b"\x21"
    return b"\0\0\0\x01" + head + bytes(23) + user + b"\0" + b"\0"


@pytest.mark.parametrize(
    "load", [{}, {"depth": 8}, {"reconnect_every": 7}], ids=["alone", "pipelined", "replaced"]
)
def test_every_reply_of_a_mysql_server_is_verified(
    tester: str, load: dict[str, Any], mysql: str, tmp_path: Path
) -> None:
    """It greets first, wants a login, and replies to some with OK and to others with their text."""
    (tmp_path / "login").write_bytes(login(b"root"))
    ping = b"\0\0\0\0\x0e"
    query = b"\0\0\0\0\x03SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT='message %d'"
    (tmp_path / "queries").mkdir()
    messages = [ping, *(query % number for number in range(50))]
    load |= {"payload": files(tmp_path / "queries", messages), "payload_order": "random"}
    load |= {"preamble": str(tmp_path / "login"), "preamble_replies": 1, "greeting": 1}
    verified(mysql, tester, "mysql", framing=MYSQL, **load)


# -- MongoDB


@depths
def test_every_reply_in_mongodbs_framing_is_verified(
    tester: str, load: dict[str, Any], tmp_path: Path
) -> None:
    requests = [message(number, {"twice": number, "$db": "test"}) for number in range(50)]
    load |= {"payload": files(tmp_path, requests), "payload_order": "random"}
    with peers.mongodb() as where:
        verified(where, tester, "mongodb_twice", framing="mongodb", **load)


def test_the_mongodb_server_is_one_to_pymongo() -> None:
    """Else the test before would only show that its two sides agree."""
    with peers.mongodb() as where:
        host, _, port = where.rpartition(":")
        with pymongo.MongoClient[dict[str, Any]](
            host, int(port), serverSelectionTimeoutMS=round(1000 * DEADLINE)
        ) as client:
            assert client.test.command("twice", 21) == {"ok": 1, "result": 42}


# -- PostgreSQL


def test_every_row_of_postgresql_is_verified(tester: str, postgresql: str, tmp_path: Path) -> None:
    """A framing of one's own makes one reply of all messages that answer a query."""
    (tmp_path / "startup").write_bytes(peers.POSTGRESQL_STARTUP)
    (tmp_path / "queries").mkdir()
    texts = [b"select '%s'\0" % (b"x" * number) for number in range(50)]
    queries = [b"Q" + struct.pack(">I", len(text) + 4) + text for text in texts]
    load: dict[str, Any] = {"payload": files(tmp_path / "queries", queries)}
    load |= {"preamble": str(tmp_path / "startup"), "preamble_replies": 1, "depth": 4}
    load |= {"framing": f"{CHECKS}:PostgreSQL", "payload_order": "random"}
    verified(postgresql, tester, "postgresql_row", **load)


@pytest.fixture(scope="module")
def postgresql() -> Iterator[str]:
    with peers.postgresql() as where:
        yield where


# -- mosquitto


@depths
def test_every_acknowledgement_of_mosquitto_is_verified(
    tester: str, load: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "connect").write_bytes(b"\x10\x0c\0\4MQTT\4\2\0\0\0\0")  # no name, no session
    (tmp_path / "messages").mkdir()
    bodies = [struct.pack(">H4sH5s", 4, b"test", number, b"hello") for number in range(1, 50)]
    published = [b"\x32" + bytes([len(body)]) + body for body in bodies]  # at least once
    load |= {"payload": files(tmp_path / "messages", published), "framing": "mqtt"}
    load |= {"preamble": str(tmp_path / "connect"), "preamble_replies": 1}
    with peers.mosquitto() as where:
        verified(where, tester, "mqtt_acknowledged", **load)


# -- nats-server


@depths
def test_every_reply_of_nats_is_verified(tester: str, load: dict[str, Any], tmp_path: Path) -> None:
    """It greets first, and then acknowledges what is published, as it is told to."""
    (tmp_path / "connect").write_bytes(b'CONNECT {"verbose":true}\r\n')
    (tmp_path / "messages").mkdir()
    messages = [b"PUB test %d\r\n%s\r\n" % (size, b"x" * size) for size in range(50)]
    load |= {"payload": files(tmp_path / "messages", messages), "framing": "nats", "greeting": 1}
    load |= {"preamble": str(tmp_path / "connect"), "preamble_replies": 1}
    with peers.nats() as where:
        verified(where, tester, "nats_ok", **load)


# -- slapd


@pytest.mark.parametrize(
    "load", [{}, {"depth": 8, "match": "ldap(stamp)"}], ids=["alone", "matched"]
)
def test_every_comparison_of_slapd_is_verified(
    tester: str, load: dict[str, Any], tmp_path: Path
) -> None:
    compare = b"\x04\7dc=test\x30%c\x04\x0eassociatedName\x04%c%s"
    requests = []
    for value in (b"cn=here", b"cn=away"):
        body = compare % (18 + len(value), len(value), value)
        operation = b"\x6e" + bytes([len(body)]) + body
        requests.append(b"\x30%c\2\2\1\1%s" % (4 + len(operation), operation))
    load |= {"payload": files(tmp_path, requests), "framing": "ldap"}
    with peers.slapd() as where:
        verified(where, tester, "ldap_compared", **load)


# -- sockperf's server


def test_every_reply_of_sockperfs_server_is_verified(tester: str) -> None:
    """In its own messages, as `python -m benchmarks.third_party` sends them. It serves one
    connection at a time."""
    if shutil.which("sockperf") is None:
        absent("Debian's sockperf")
    with servers.sockperf(max(os.sched_getaffinity(0))) as server, TemporaryDirectory() as folder:
        load: dict[str, Any] = {"connections": 1, "depth": 4, "match": "bytes(0,8,stamp)"}
        load |= {"payload": files(Path(folder), [sockperf_message()])}
        where = f"127.0.0.1:{server.port}"
        verified(where, tester, "sockperf", framing=SOCKPERF_FRAMING, **load)


# -- replies out of order


@pytest.mark.parametrize("load", [{"depth": 8}, {"rate": 1000}], ids=["pipelined", "open"])
def test_every_reply_that_overtakes_others_is_verified(tester: str, load: dict[str, Any]) -> None:
    with peers.out_of_order() as where:
        verified(where, tester, "echo", match="bytes(0,8)", **load)


def test_without_a_match_they_are_found_to_overtake(tester: str) -> None:
    """Else the test before would prove nothing."""
    with peers.out_of_order() as where:
        load = {"messages": MESSAGES, "duration": None, "warmup": 0.0, "timeout": DEADLINE}
        result = run(Workload(address=where, connections=3, depth=8, engine=tester, **load))  # type: ignore[arg-type]
    assert result.errors["wrong_order"] > 0
