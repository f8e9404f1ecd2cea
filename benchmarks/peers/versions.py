"""Which version of a peer is installed, and of which day it is."""

import gzip
import re
import subprocess
from email.utils import parsedate_to_datetime
from importlib import metadata
from pathlib import Path

UNKNOWN = "unknown"

RELEASED = {  # a distribution does not tell its day: these are of the files in the wheels
    ("aiofastnet", "1.2.0"): "2026-10-01",
    ("gevent", "26.9.0"): "2026-09-16",
    ("Twisted", "26.10.0"): "2026-10",
    ("uvloop", "0.23.0"): "2026-09-30",
}

_DATE = re.compile(r"^ -- .*>  (.+)$", re.MULTILINE)


def of_debian(package: str) -> str:
    """Return the version of a Debian package, and the day of its last entry in the changelog."""
    query = ["dpkg-query", "--show", "--showformat=${Version}", package]
    try:
        done = subprocess.run(query, capture_output=True, text=True, check=False)
    except FileNotFoundError:  # no Debian
        return UNKNOWN
    return f"{done.stdout}, {_day(package)}" if done.returncode == 0 else UNKNOWN


def _day(package: str) -> str:
    folder = Path("/usr/share/doc") / package
    for file in (folder / "changelog.Debian.gz", folder / "changelog.gz"):
        if file.exists():
            entry = _DATE.search(gzip.decompress(file.read_bytes()).decode(errors="replace"))
            if entry:
                return parsedate_to_datetime(entry[1]).date().isoformat()
    return "of an unknown day"


def of_distribution(name: str) -> str:
    """Return the version of a Python distribution, and its day where that is known."""
    try:
        version = metadata.version(name)
    except metadata.PackageNotFoundError:
        return UNKNOWN
    return f"{version}, {RELEASED.get((name, version), 'of an unknown day')}"


def of_command(*command: str) -> str:
    """Return the first line that a command prints, such as its version."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return UNKNOWN
    return ((done.stdout or done.stderr).splitlines() or [UNKNOWN])[0]
