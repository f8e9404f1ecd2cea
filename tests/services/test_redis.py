"""redis-cli and redis-benchmark speak to the cache."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.engines import Engine
from tests.services.support import client, complaints, example, output, port
from tests.support import Peer, ServerProcess

pytestmark = pytest.mark.services

TESTS = ["PING_INLINE", "PING_MBULK", "SET", "GET", "INCR", "MSET (10 keys)"]


@pytest.fixture
def server(engine: Engine) -> Iterator[ServerProcess]:
    with example(engine, "redis_cache:Cache", "--framing", "redis") as server:
        yield server
        assert complaints(server) == []


def cli(server: ServerProcess, *arguments: str, given: str = "") -> list[str]:
    """The lines that redis-cli prints."""
    program = client("redis-cli", "redis-tools")
    return output(program, "-p", port(server), *arguments, given=given).splitlines()


def test_redis_cli(server: ServerProcess) -> None:
    for command, answer in (
        ("set greeting hello", ["OK"]),
        ("get greeting", ["hello"]),
        ("set greeting other nx", [""]),
        ("get missing", [""]),
        ("mset a 1 b 2", ["OK"]),
        ("mget a b missing", ["1", "2", ""]),
        ("incr a", ["2"]),
        ("decr missing", ["-1"]),
        ("incr greeting", ["ERR value is not an integer or out of range", ""]),
        ("exists a b c", ["2"]),
        ("expire a 100", ["1"]),
        ("ttl a", ["100"]),
        ("del a b c", ["2"]),
        ("dance", ["ERR unknown command 'dance'", ""]),
        ("get", ["ERR wrong number of arguments for 'get'", ""]),
        ("flushall", ["OK"]),
        ("dbsize", ["0"]),
    ):
        assert cli(server, *command.split()) == answer, command


def test_bytes_of_all_kinds(server: ServerProcess) -> None:
    text = "grüße\r\n$3\r\n*1\r\n" + "x" * 100_000
    assert cli(server, "-x", "set", "key", given=text) == ["OK"]
    program = client("redis-cli", "redis-tools")
    assert output(program, "-p", port(server), "get", "key") == text.replace("\r\n", "\n") + "\n"


def test_many_commands_of_one_pipeline(server: ServerProcess) -> None:
    keys = [f"key{number}" for number in range(10_000)]
    commands = "".join(f"SET {key} {number}\r\n" for number, key in enumerate(keys))
    assert cli(server, "--pipe", given=commands)[-1] == "errors: 0, replies: 10000"
    assert cli(server, "dbsize") == ["10000"]
    assert cli(server, "mget", "key0", "key9999") == ["0", "9999"]


@pytest.mark.parametrize("depth", ["1", "16"])
def test_redis_benchmark(server: ServerProcess, depth: str) -> None:
    program = client("redis-benchmark", "redis-tools")
    command = (program, "-p", port(server), "-n", "3000", "-P", depth, "-c", "20", "--csv")
    printed = output(*command, "-t", "ping,set,get,incr,mset").splitlines()[1:]
    rows = [line.strip('"').split('","') for line in printed]
    assert [row[0] for row in rows] == TESTS
    assert all(float(row[1]) > 0 for row in rows)
    assert int(cli(server, "get", "counter:__rand_int__")[0]) >= 3000  # which INCR has counted


def test_bytes_that_are_no_command_end_their_connection_only(server: ServerProcess) -> None:
    with Peer(server.address) as peer:
        peer.send(b"PING\r\n*1\r\n$x\r\n")
        assert peer.receive_until_gone() == b"+PONG\r\n"
    assert cli(server, "ping") == ["PONG"]
