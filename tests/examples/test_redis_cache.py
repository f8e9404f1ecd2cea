"""The cache as its protocol is written; redis-cli and redis-benchmark are in ``tests/services``."""

from __future__ import annotations

import time

import pytest

import epollo.testing
from examples import redis_cache
from examples.redis_cache import OVERHEAD, Cache
from tests.examples.support import both_ways
from tests.support import Peer, ServerProcess


def command(*words: bytes) -> bytes:
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(w), w) for w in words)


def ask(cache: Cache, *words: bytes) -> bytes:
    with epollo.testing.connect(cache, framing="redis") as connection:
        (answer,) = connection.receive(command(*words))
    return answer


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        ([b"ping"], b"+PONG\r\n"),
        ([b"ECHO", b"\r\n\0"], b"$3\r\n\r\n\0\r\n"),
        ([b"GET", b"x"], b"$-1\r\n"),
        ([b"SET", b"a", b"2", b"XX", b"PX", b"10000"], b"+OK\r\n"),
        ([b"SET", b"a", b"2", b"NX"], b"$-1\r\n"),
        ([b"SET", b"x", b"2", b"xx"], b"$-1\r\n"),
        ([b"SET", b"a", b"2", b"EX"], b"-ERR syntax error\r\n"),
        ([b"SET", b"a", b"2", b"EX", b"0"], b"-ERR invalid expire time in SET\r\n"),
        ([b"SET", b"a", b"2", b"GET"], b"-ERR syntax error\r\n"),
        ([b"MSET", b"a", b"1", b"b"], b"-ERR wrong number of arguments for MSET\r\n"),
        ([b"MGET", b"a", b"x"], b"*2\r\n$1\r\n1\r\n$-1\r\n"),
        ([b"INCRBY", b"a", b"-3"], b":-2\r\n"),
        (
            [b"INCRBY", b"a", b"9223372036854775807"],
            b"-ERR increment or decrement would overflow\r\n",
        ),
        ([b"INCRBY", b"a", b"9" * 5000], b"-ERR value is not an integer or out of range\r\n"),
        ([b"INCRBY", b"a", b"-"], b"-ERR value is not an integer or out of range\r\n"),
        ([b"TTL", b"a"], b":-1\r\n"),
        ([b"TTL", b"x"], b":-2\r\n"),
        ([b"EXPIRE", b"x", b"1"], b":0\r\n"),
        ([b"CONFIG", b"GET", b"save"], b"*2\r\n$4\r\nsave\r\n$0\r\n\r\n"),
        ([b"COMMAND", b"DOCS"], b"*0\r\n"),
        ([b"DBSIZE", b"x"], b"-ERR wrong number of arguments for 'DBSIZE'\r\n"),
        ([b"a\r\n:1"], b"-ERR unknown command 'a\\r\\n:1'\r\n"),
    ],
)
def test_a_command_is_answered(words: list[bytes], answer: bytes) -> None:
    cache = Cache()
    assert ask(cache, b"SET", b"a", b"1") == b"+OK\r\n"
    assert ask(cache, *words) == answer


@pytest.mark.parametrize(
    "frame", [b"*1\r\n:1\r\n", b"*1\r\n$-1\r\n", b"*2\r\n$4\r\nPING\r\n*0\r\n", b"*1\r\n+PING\r\n"]
)
def test_what_is_no_command_ends_the_connection(frame: bytes) -> None:
    with epollo.testing.connect(Cache(), framing="redis") as connection:
        (answer,) = connection.receive(frame)
        assert answer.startswith(b"-ERR Protocol error: ")
        assert connection.closed


def test_nothing_is_answered_with_nothing() -> None:
    with epollo.testing.connect(Cache(), framing="redis") as connection:
        assert connection.receive(b"*0\r\n") == connection.receive(b"  \r\n") == []
        assert connection.receive(b"ping  a\n") == [b"$1\r\na\r\n"]


def test_keys_expire(monkeypatch: pytest.MonkeyPatch) -> None:
    cache, now = Cache(), 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    ask(cache, b"SET", b"a", b"1", b"EX", b"10")
    ask(cache, b"INCR", b"a")  # which keeps the time
    ask(cache, b"SET", b"b", b"1", b"EX", b"10")
    ask(cache, b"SET", b"b", b"1")  # which does not
    now += 9
    assert ask(cache, b"TTL", b"a") == b":1\r\n"
    assert ask(cache, b"EXISTS", b"a", b"b") == b":2\r\n"
    now += 1
    assert ask(cache, b"GET", b"a") == b"$-1\r\n"
    assert ask(cache, b"DEL", b"a", b"b") == b":1\r\n"
    assert (cache.size, cache.ends) == (0, {})


def test_the_oldest_keys_make_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_cache, "MOST_BYTES", 3 * (OVERHEAD + 2))
    cache = Cache()
    for key in (b"a", b"b", b"c", b"a", b"d"):
        ask(cache, b"SET", key, b"1")
    assert list(cache.values) == [b"c", b"a", b"d"]
    assert ask(cache, b"FLUSHALL") == b"+OK\r\n"
    assert cache.size == 0


@both_ways("redis_cache", "Cache", "--framing", "redis")
def test_the_program(server: ServerProcess) -> None:
    with Peer(server.address) as peer:
        peer.send(command(b"SET", b"a", b"1") + b"incr a\r\n" + command(b"QUIT") + b"ping\r\n")
        assert peer.receive_until_gone() == b"+OK\r\n:2\r\n+OK\r\n"
