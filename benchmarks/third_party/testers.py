"""The load testers: each measures a server once, and says what p50 and p99 it saw.

A measurement is a dict of `rate` in messages per second, and of `p50_us` and `p99_us`, the times
from a message to its reply in microseconds.
"""

import csv
import json
import math
import re
import struct
import sys
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.errors import BenchmarkError
from benchmarks.load import GRACE, Window, output
from benchmarks.third_party.servers import HOST

Values = dict[str, float]

SIZE = 64  # bytes of a sockperf message, with its header
SOCKPERF_HEADER = struct.Struct(">QHI")  # number, flags, length of it all
SOCKPERF_FLAGS = 0b11  # from a client, which wants a reply
SOCKPERF_FRAMING = "length(offset=10,size=4,adjust=-14)"
SOCKPERF_SKIPS = 0.45  # seconds of its run that it leaves out, at both ends

OBSERVATIONS = re.compile(r"RunTime=([\d.]+) sec; SentMessages=\d+; ReceivedMessages=(\d+)")
PERCENTILE = re.compile(r"percentile (50|99)\.000 = *([\d.]+)")
LOST = re.compile(r"(?:dropped|duplicated|out-of-order) messages = [1-9]\d*")


def sockperf(mode: str, port: int, window: Window, *options: str) -> Values:
    """Measure with sockperf in one of its modes, as round trips on one TCP connection.

    Raises:
        BenchmarkError: it failed, or lost a message.
    """
    seconds = math.ceil(window.seconds + SOCKPERF_SKIPS)
    command = [
        *(*pinned(window), "sockperf", mode, "--tcp", "-i", HOST, "-p", str(port)),
        *("-m", str(SIZE), "-t", str(seconds), "--full-rtt", *options),
    ]
    return read_sockperf(output(command, seconds + GRACE))


def read_sockperf(text: str) -> Values:
    """Return the figures in what sockperf prints."""
    valid = OBSERVATIONS.search(text.partition("[Valid Duration]")[2])
    percentiles = dict(PERCENTILE.findall(text))
    wrong = LOST.search(text)
    if valid is None or len(percentiles) != 2 or wrong:
        raise BenchmarkError(f"sockperf: {wrong[0] if wrong else 'no figures in its output'}")
    return {
        "rate": float(valid[2]) / float(valid[1]),
        "p50_us": float(percentiles["50"]),
        "p99_us": float(percentiles["99"]),
    }


def redis_benchmark(clients: int, pipeline: int, port: int, window: Window) -> Values:
    """Measure with redis-benchmark: inline PINGs in a closed loop. It takes a number of requests;
    a run of an eighth of the time finds the number for the window.

    Raises:
        BenchmarkError: it failed.
    """
    measure = partial(redis_requests, clients, pipeline, port, window)
    trial = measure(max(1000, 20 * clients * pipeline))
    trial = measure(max(1000, round(trial["rate"] * window.seconds / 8)))
    return measure(max(1000, round(trial["rate"] * window.seconds)))


def redis_requests(clients: int, pipeline: int, port: int, window: Window, count: int) -> Values:
    """Measure so many requests."""
    command = [
        *(*pinned(window), "redis-benchmark", "-h", HOST, "-p", str(port), "-t", "ping_inline"),
        *("-c", str(clients), "-P", str(pipeline), "-n", str(count), "--csv"),
    ]
    return read_redis(output(command, 10 * window.seconds + GRACE))


def read_redis(text: str) -> Values:
    """Return the figures in the table that redis-benchmark prints."""
    rows = list(csv.DictReader(text.splitlines()))
    if len(rows) != 1:
        raise BenchmarkError(f"redis-benchmark: {len(rows)} rows in its table, where one was due")
    (row,) = rows
    return {
        "rate": float(row["rps"]),
        "p50_us": 1000 * float(row["p50_latency_ms"]),
        "p99_us": 1000 * float(row["p99_latency_ms"]),
    }


def epollo_on_sockperf(port: int, window: Window, *options: str) -> Values:
    """Measure sockperf's server, in sockperf's messages: replies are matched by their number."""
    how = ("--framing", SOCKPERF_FRAMING, "--match", "bytes(0,8,stamp)")
    return epollo(port, window, sockperf_message(), "-c", "1", *how, *options)


def sockperf_message() -> bytes:
    """Return a message that sockperf's server replies to, with a number still to be written."""
    return SOCKPERF_HEADER.pack(0, SOCKPERF_FLAGS, SIZE) + bytes(SIZE - SOCKPERF_HEADER.size)


def epollo_on_redis(clients: int, depth: int, port: int, window: Window) -> Values:
    """Measure redis-server with inline PINGs."""
    loop = ("-c", str(clients), "--depth", str(depth))
    return epollo(port, window, b"PING", "--framing", "line", *loop)


def epollo(port: int, window: Window, message: bytes, *options: str) -> Values:
    """Measure with `epollo bench`; of an open loop, also from the time that each message was due.

    Raises:
        BenchmarkError: it failed, or a reply was wrong or missing.
    """
    with TemporaryDirectory() as folder:
        payload = Path(folder) / "message"
        payload.write_bytes(message)
        command = [
            *(*pinned(window), sys.executable, "-m", "epollo", "bench", f"{HOST}:{port}"),
            *("--payload", str(payload), "--expect", "any", *options),
            *("-d", f"{window.seconds}s", "--warmup", f"{window.warmup}s", "--json", "-"),
        ]
        return read_epollo(output(command, window.seconds + window.warmup + GRACE))


def read_epollo(text: str) -> Values:
    """Return the figures in a result of `epollo bench`."""
    result = json.loads(text)
    found = {"rate": result["rate"]}
    for name, key in {"": "service", "due_": "response"}.items():
        percentiles = result[key]["percentiles"]
        found |= {f"{name}p{part}_us": 1e6 * percentiles[part] for part in ("50", "99")}
    return found


def pinned(window: Window) -> tuple[str, ...]:
    """Return the beginning of a command that stays on the tester's core."""
    return ("taskset", "-c", str(window.core))
