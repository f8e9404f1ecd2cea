"""A cache that speaks the protocol of Redis: strings and counters, which may expire.

    python examples/redis_cache.py 127.0.0.1:6380
    epollo serve examples.redis_cache:Cache --framing redis
    redis-cli -p 6380 set greeting hello ex 60
    redis-benchmark -p 6380 -t ping,set,get,incr,mset -P 16 -q

https://redis.io/docs/latest/develop/reference/protocol-spec/ for the protocol, RESP2, and
https://redis.io/docs/latest/commands/ for the commands.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import epollo

MOST_BYTES = 256 << 20  # of keys and values: above it, the oldest keys are dropped
OVERHEAD = 200  # bytes of memory that Python needs for each
HIGHEST = (1 << 63) - 1  # of counters, and the lowest is as far below 0

OK = b"+OK\r\n"


class Refused(Exception):
    """A command that is answered with an error."""


class Cache:
    def __init__(self) -> None:
        self.values: dict[bytes, bytes] = {}  # the oldest key first
        self.ends: dict[bytes, float] = {}  # time.monotonic(), of the keys that expire
        self.size = 0

    def received(self, frame: bytes, connection: epollo.Connection) -> bytes | None:
        try:
            words = words_of(frame)
        except ValueError:
            connection.close()
            return error("Protocol error: a command is an array of bulk strings")
        if not words:
            return None
        name, *arguments = words
        if name.upper() not in COMMANDS:
            return error(f"unknown command {shown(name)}")
        command, fewest, most = COMMANDS[name.upper()]
        if not fewest <= len(arguments) <= most:
            return error(f"wrong number of arguments for {shown(name)}")
        if command is Cache.quit:
            connection.close()
        try:
            return command(self, *arguments)
        except Refused as refused:
            return error(str(refused))

    # ---- Keys

    def find(self, key: bytes) -> bytes | None:
        if self.ends and self.ends.get(key, HIGHEST) <= time.monotonic():
            self.drop(key)
        return self.values.get(key)

    def store(self, key: bytes, value: bytes, seconds: float | None = None) -> None:
        self.drop(key)
        self.values[key] = value
        self.size += len(key) + len(value) + OVERHEAD
        if seconds is not None:
            self.ends[key] = time.monotonic() + seconds
        while self.size > MOST_BYTES:
            self.drop(next(iter(self.values)))

    def drop(self, key: bytes) -> bool:
        value = self.values.pop(key, None)
        if value is None:
            return False
        self.size -= len(key) + len(value) + OVERHEAD
        self.ends.pop(key, None)
        return True

    # ---- Commands

    def ping(self, text: bytes | None = None) -> bytes:
        return b"+PONG\r\n" if text is None else bulk(text)

    def get(self, key: bytes) -> bytes:
        return bulk(self.find(key))

    def set(self, key: bytes, value: bytes, *options: bytes) -> bytes:
        seconds, condition = options_of(list(options))
        if condition and (self.find(key) is None) != (condition == b"NX"):
            return bulk(None)
        self.store(key, value, seconds)
        return OK

    def mget(self, *keys: bytes) -> bytes:
        return array([bulk(self.find(key)) for key in keys])

    def mset(self, *pairs: bytes) -> bytes:
        if len(pairs) % 2:
            raise Refused("wrong number of arguments for MSET")
        for key, value in zip(pairs[::2], pairs[1::2], strict=True):
            self.store(key, value)
        return OK

    def incr(self, key: bytes, by: bytes = b"1") -> bytes:
        value, step = self.find(key), number_of(by)
        count = number_of(value or b"0") + step
        if abs(count) > HIGHEST:
            raise Refused("increment or decrement would overflow")
        end = self.ends.get(key)
        self.store(key, b"%d" % count, None if end is None else end - time.monotonic())
        return number(count)

    def decr(self, key: bytes) -> bytes:
        return self.incr(key, b"-1")

    def delete(self, *keys: bytes) -> bytes:
        return number(sum(self.find(key) is not None and self.drop(key) for key in keys))

    def exists(self, *keys: bytes) -> bytes:
        return number(sum(self.find(key) is not None for key in keys))

    def expire(self, key: bytes, seconds: bytes) -> bytes:
        if self.find(key) is None:
            return number(0)
        self.ends[key] = time.monotonic() + number_of(seconds)
        return number(1)

    def ttl(self, key: bytes) -> bytes:
        if self.find(key) is None:
            return number(-2)
        return number(round(self.ends[key] - time.monotonic()) if key in self.ends else -1)

    def dbsize(self) -> bytes:
        return number(len(self.values))

    def flushall(self) -> bytes:
        self.values.clear()
        self.ends.clear()
        self.size = 0
        return OK

    def config(self, verb: bytes, name: bytes) -> bytes:
        """Nothing can be configured; redis-benchmark asks for what it prints."""
        return array([bulk(name), bulk(b"")])

    def command(self, *_: bytes) -> bytes:
        """There are no descriptions; redis-cli asks for them."""
        return array([])

    def quit(self) -> bytes:
        return OK


ANY = sys.maxsize
COMMANDS: dict[bytes, tuple[Callable[..., bytes], int, int]] = {  # with how many arguments
    b"PING": (Cache.ping, 0, 1),
    b"ECHO": (Cache.ping, 1, 1),
    b"GET": (Cache.get, 1, 1),
    b"SET": (Cache.set, 2, 5),
    b"MGET": (Cache.mget, 1, ANY),
    b"MSET": (Cache.mset, 2, ANY),
    b"INCR": (Cache.incr, 1, 1),
    b"INCRBY": (Cache.incr, 2, 2),
    b"DECR": (Cache.decr, 1, 1),
    b"DEL": (Cache.delete, 1, ANY),
    b"EXISTS": (Cache.exists, 1, ANY),
    b"EXPIRE": (Cache.expire, 2, 2),
    b"TTL": (Cache.ttl, 1, 1),
    b"DBSIZE": (Cache.dbsize, 0, 0),
    b"FLUSHALL": (Cache.flushall, 0, 0),
    b"COMMAND": (Cache.command, 0, ANY),
    b"CONFIG": (Cache.config, 2, 2),
    b"QUIT": (Cache.quit, 0, 0),
}


def words_of(frame: bytes) -> list[bytes]:
    """The name of a command and its arguments. The framing has checked all lengths."""
    if frame[:1] != b"*":
        return frame.split()  # as people type it
    words, at = [], frame.index(b"\n") + 1
    while at < len(frame):
        end = frame.index(b"\r\n", at)
        size = int(frame[at + 1 : end])
        if frame[at] != b"$"[0] or size < 0:
            raise ValueError("not a bulk string")
        at = end + 2 + size + 2
        words.append(frame[end + 2 : at - 2])
    return words


def options_of(options: list[bytes]) -> tuple[float | None, bytes]:
    """The seconds after EX, or milliseconds after PX, and NX or XX, of SET."""
    seconds, condition = None, b""
    while options:
        option = options.pop(0).upper()
        if option in (b"EX", b"PX") and options and seconds is None:
            seconds = number_of(options.pop(0)) / (1 if option == b"EX" else 1000)
        elif option in (b"NX", b"XX") and not condition:
            condition = option
        else:
            raise Refused("syntax error")
    if seconds is not None and seconds <= 0:
        raise Refused("invalid expire time in SET")
    return seconds, condition


def number_of(text: bytes) -> int:
    if text.removeprefix(b"-").isdigit() and len(text) <= 20 and abs(int(text)) <= HIGHEST:
        return int(text)
    raise Refused("value is not an integer or out of range")


def number(value: int) -> bytes:
    return b":%d\r\n" % value


def bulk(value: bytes | None) -> bytes:
    return b"$-1\r\n" if value is None else b"$%d\r\n%b\r\n" % (len(value), value)


def array(values: list[bytes]) -> bytes:
    return b"*%d\r\n%b" % (len(values), b"".join(values))


def shown(name: bytes) -> str:
    return repr(name[:64].decode("latin-1"))  # which has no CR and no LF in it


def error(text: str) -> bytes:
    return f"-ERR {text}\r\n".encode()


if __name__ == "__main__":
    epollo.serve(Cache(), *sys.argv[1:2], framing="redis")
