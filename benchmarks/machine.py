"""What the figures were measured on, without a name or a path that would tell whose it is."""

import os
import platform
import resource
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from benchmarks.errors import BenchmarkError


def cores() -> tuple[int, int]:
    """Return a core for the server and one for the load generator.

    They are the first and the last that we may use, which are seldom two threads of one core.

    Raises:
        BenchmarkError: there is only one.
    """
    usable = sorted(os.sched_getaffinity(0))
    if len(usable) < 2:
        raise BenchmarkError("two cores are needed, one for the server and one for the load")
    return usable[0], usable[-1]


def allow_descriptors() -> None:
    """Raise the limit of descriptors as far as it goes, for the processes that are started."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def describe() -> dict[str, str]:
    """Return the machine and the software, by heading."""
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "kernel": f"{platform.system()} {platform.release().partition('-')[0]}",
        "CPU": cpu_model(),
        "cores": str(os.cpu_count()),
        "Python": f"{platform.python_implementation()} {platform.python_version()}",
        **{name: version(name) for name in ("epollo", "uvloop", "Twisted", "gevent")},
    }


def cpu_model() -> str:
    """Return the CPU's name for itself, or its architecture where the kernel tells no name."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.machine()


def version(distribution: str) -> str:
    """Return the version of an installed distribution."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return "not installed"
