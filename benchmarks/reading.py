"""CPU time of reading the result of an hour, next to that of the library hdrhistogram; and of the
report of results of a day.

python -m benchmarks.reading [DAY.json ...]

The result of an hour is of an open loop, with three histograms a second. It is read whole, from
JSON to a `Result`. Then the counts of some of its histograms are taken from their text by our code
and by the library, in turns. The library decodes in C, but its array also has a count for each
empty bucket.

The results of a day are the hour's seconds again and again, in files of some 700 MB, or those named
on the command line. `epollo report` is run on one of them, and on two.
"""

import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import median

from benchmarks.errors import BenchmarkError
from epollo.bench import Result, Second, Workload
from epollo.bench.results import hdr
from epollo.bench.results.histogram import Histogram

HOUR = 3600  # seconds
DAY = 24 * HOUR
RATES = (1_000, 100_000)  # messages a second
DRAWN = 1000  # messages drawn for each second; each stands for as many as the rate needs
KINDS = 20  # different seconds, which are repeated
ROUNDS = 5
SAMPLE = 60  # histograms decoded a round


def histogram(chance: random.Random, mean: float, rate: int) -> Histogram:
    """Return exponential times of that mean in ns; a bucket of a high rate has higher counts."""
    made = Histogram()
    for _ in range(DRAWN):
        made.record_many(round(chance.expovariate(1 / mean)), chance.randint(1, 2 * rate // DRAWN))
    return made


def hour(rate: int) -> Result:
    """Return the result of an hour at that rate."""
    chance = random.Random(1)  # noqa: S311 (not for security)
    kinds = [
        [histogram(chance, mean, rate) for mean in (200_000, 190_000, 5_000)] for _ in range(KINDS)
    ]
    seconds = [
        Second(float(n), 1.0, float(rate), rate, rate, 0, 10, *kinds[n % KINDS])
        for n in range(HOUR)
    ]
    response, service, slip = (Histogram.sum(kind[n] for kind in kinds) for n in range(3))
    return Result(
        workload=Workload(address="127.0.0.1:8091", rate=rate, duration=float(HOUR)),
        started=1.7e9,
        elapsed=float(HOUR),
        sent=HOUR * rate,
        bytes_sent=64 * HOUR * rate,
        bytes_received=64 * HOUR * rate,
        response=response,
        service=service,
        slip=slip,
        answered=[HOUR * rate],
        connect=response,
        first_reply=response,
        seconds=seconds,
        errors={},
    )


def cpu_time(call: Callable[[], object]) -> float:
    """Return the CPU time of a call, in seconds."""
    start = time.process_time()
    call()
    return time.process_time() - start


def each(call: Callable[[str], object], texts: Sequence[str]) -> None:
    """Call with each of the texts."""
    for text in texts:
        call(text)


def by_library(text: str) -> list[tuple[int, int]]:
    """Return the pairs of bucket index and count, as the library decodes them."""
    try:
        from hdrh.histogram import HdrHistogram
    except ImportError as error:
        raise BenchmarkError("no library to compare with: pip install hdrhistogram") from error
    return [(n, count) for n, count in enumerate(HdrHistogram.decode(text).counts) if count]


def in_turns(texts: Sequence[str]) -> tuple[float, float]:
    """Return the CPU time of one histogram in ms: of our code, and of the library."""
    ours, theirs = [], []
    for number in range(ROUNDS):
        sample = [texts[(number * SAMPLE + n) % len(texts)] for n in range(SAMPLE)]
        ours.append(cpu_time(partial(each, hdr.decode, sample)))
        theirs.append(cpu_time(partial(each, by_library, sample)))
    return median(ours) * 1000 / SAMPLE, median(theirs) * 1000 / SAMPLE


def write_day(result: Result, path: Path) -> None:
    """Write the result with its seconds repeated until they are a day."""
    head, _, _ = result.to_json().partition(',\n  "seconds": [')
    documents = [second.to_document() for second in result.seconds[:KINDS]]
    with path.open("w") as file:
        file.write(f'{head},\n  "seconds": [')
        for start in range(DAY):
            line = json.dumps(documents[start % KINDS] | {"start": float(start)})
            file.write(f"{',' if start else ''}\n    {line}")
        file.write("]\n}")


def report(paths: Sequence[str]) -> str:
    """CPU time and memory of `epollo report` of these files."""
    command = [sys.executable, "-m", "epollo", "report", *paths]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise BenchmarkError(f"epollo report failed with {process.returncode}")
    return f"{usage.ru_utime + usage.ru_stime:.1f} s, {usage.ru_maxrss / 1e3:.0f} MB of memory"


def print_days(paths: Sequence[str]) -> None:
    """Print the figures of a report of the first of these results, and of the first two."""
    size = Path(paths[0]).stat().st_size / 1e6
    print(f"a report of a day, {size:.0f} MB: {report(paths[:1])}")
    print(f"of two days: {report([*paths, *paths][:2])}")


def main() -> None:
    """Print the figures."""
    if sys.argv[1:]:
        print_days(sys.argv[1:])
        return
    print_hours()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "day.json"
        write_day(hour(RATES[-1]), path)
        # In a process of its own: a child's peak memory includes what its parent had when it began.
        subprocess.run([sys.executable, "-m", "benchmarks.reading", path], check=True)


def print_hours() -> None:
    """Print the figures of results of an hour."""
    for rate in RATES:
        result = hour(rate)
        text = result.to_json()
        seconds = [second.to_document() for second in result.seconds[:KINDS]]
        texts = [second[name] for second in seconds for name in ("response", "service", "slip")]
        whole = cpu_time(partial(Result.from_json, text))
        ours, theirs = in_turns(texts)
        print(
            f"an hour at {rate:,} messages a second, {len(text) / 1e6:.0f} MB: "
            f"{whole:.1f} s for the whole result; one histogram {ours:.2f} ms, "
            f"by hdrhistogram {theirs:.2f} ms, {theirs / ours:.1f} times as much"
        )


if __name__ == "__main__":
    main()
