"""How many descriptors this process may have open: setrlimit(2), RLIMIT_NOFILE."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager

from epollo.errors import SettingError, UsageError

UNLIMITED = 1 << 20  # a number to compute with if there is no limit
SPARE = 128  # for the interpreter, its files, and whatever is open next to the connections


def allow_descriptors(connections: int) -> None:
    """Raise the soft limit to what ``connections`` take, within the hard one. Raises SettingError
    if that is too low."""
    wanted = connections + SPARE
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or wanted <= soft:
        return
    if hard != resource.RLIM_INFINITY and wanted > hard:
        most = hard - SPARE
        raise SettingError(f"connections: this process may have {most} at most (ulimit -n {hard})")
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


@contextmanager
def all_descriptors() -> Iterator[int]:
    """Raise the soft limit to the hard one for the ``with`` block, which gets the limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = UNLIMITED if hard == resource.RLIM_INFINITY else hard
    if soft != resource.RLIM_INFINITY and soft < limit:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
        except (ValueError, OSError):  # over fs.nr_open (proc(5)), which was lowered since
            limit = soft
    try:
        yield limit
    finally:
        _, now = resource.getrlimit(resource.RLIMIT_NOFILE)
        if now == hard:  # else prlimit(1) has changed it
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def require(needed: int, limit: int, what: str) -> None:
    """Raises UsageError if ``what`` (a plural) need more descriptors than ``limit``."""
    if needed > limit:
        raise UsageError(
            f"{what} take {needed:,} descriptors and the limit is {limit:,}; "
            "ask for fewer or raise ulimit -Hn"
        )
