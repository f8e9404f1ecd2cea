"""The machine of the measurement, without names or paths that identify its owner."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from pathlib import Path

import epollo


@dataclass(frozen=True, slots=True)
class Machine:
    """Names and versions of hardware and software."""

    kernel: str
    cpu: str
    cores: int
    python: str
    epollo: str

    def __str__(self) -> str:
        cores = f"{self.cores} core{'s' if self.cores > 1 else ''}"
        return f"{self.kernel}, {self.python}, {cores} ({self.cpu}), epollo {self.epollo}"


def this_machine() -> Machine:
    """The machine that this process runs on."""
    return Machine(
        kernel=f"{platform.system()} {platform.release().partition('-')[0]}",
        cpu=_cpu(),
        cores=os.cpu_count() or 1,
        python=f"{platform.python_implementation()} {platform.python_version()}",
        epollo=epollo.__version__,
    )


def _cpu() -> str:
    """The CPU's model name, or its architecture if the kernel gives no name."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:  # not Linux
        lines = []
    for line in lines:
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.machine()
