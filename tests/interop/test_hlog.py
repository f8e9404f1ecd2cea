"""HdrHistogram's own log processor, in Java, takes our .hlog for one of its own."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from epollo.bench.results import hlog
from tests.bench.support import made_up
from tests.interop.support import absent
from tests.support import DEADLINE

JAR = Path("/usr/share/java/hdrhistogram.jar")  # of Debian's libhdrhistogram-java
PROCESSOR = "org.HdrHistogram.HistogramLogProcessor"


@pytest.fixture
def java() -> str:
    found = shutil.which("java")
    if found is None:
        absent("java (default-jre-headless)")
    if not JAR.exists():
        absent("HdrHistogram for Java (libhdrhistogram-java)")
    return found


def processed(java: str, log: Path, *options: str) -> list[str]:
    """What the processor says of the log, line by line, in ns."""
    command = [java, "-XX:TieredStopAtLevel=1", "-cp", str(JAR), PROCESSOR, "-i", str(log)]
    run = subprocess.run(
        [*command, "-outputValueUnitRatio", "1", *options],
        capture_output=True,
        text=True,
        check=False,
        timeout=DEADLINE,
    )
    assert (run.returncode, run.stderr) == (0, "")
    return run.stdout.splitlines()


def test_its_tags_are_found(java: str, tmp_path: Path) -> None:
    log = tmp_path / "run.hlog"
    hlog.write(str(log), made_up(seconds=2, rate="1k"))
    tags = {line.strip() for line in processed(java, log, "-listtags")}
    assert tags >= set(hlog.TAGS)


def test_its_percentiles_are_ours(java: str, tmp_path: Path) -> None:
    """Each row is a value, the part of all that is not above it, and how many these are."""
    log = tmp_path / "run.hlog"
    result = made_up(seconds=3, rate="1k")
    hlog.write(str(log), result)
    for tag in hlog.TAGS:
        times = getattr(result, tag)
        output = processed(java, log, "-csv", "-tag", tag)
        rows = [line.split(",") for line in output if line[:1].isdigit()]
        assert int(rows[-1][2]) == times.total
        for value, part, count, *_ in rows:
            below = sum(held for low, _, held in times.buckets() if low <= float(value))
            assert below == int(count)
            assert float(part) <= int(count) / times.total + 1e-9
