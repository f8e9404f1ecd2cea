"""How many descriptors this process may have open."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager

from epollo.errors import UsageError

UNLIMITED = 1 << 20  # a number to reckon with where the limit is none
SPARE = 128  # for the interpreter, its files, and what the experiments open besides


@contextmanager
def all_descriptors() -> Iterator[int]:
    """Raise the soft limit to the hard one for the ``with`` block, which gets the limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = UNLIMITED if hard == resource.RLIM_INFINITY else hard
    if soft != resource.RLIM_INFINITY and soft < limit:
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    try:
        yield limit
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def require(needed: int, limit: int, what: str) -> None:
    """Raises UsageError where ``what`` (a plural) need more descriptors than ``limit``."""
    if needed > limit:
        raise UsageError(
            f"{what} take {needed:,} descriptors and the limit is {limit:,}; "
            "ask for fewer or raise ulimit -Hn"
        )
