"""How many descriptors this process may have."""

from __future__ import annotations

import resource

from epollo.errors import SettingError

_SPARE = 32  # beside the connections


def allow_descriptors(connections: int) -> None:
    """Raise this process's limit of descriptors to what so many connections take, within the
    hard limit. Raises SettingError where that is too low."""
    wanted = connections + _SPARE
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or wanted <= soft:
        return
    if hard != resource.RLIM_INFINITY and wanted > hard:
        most = hard - _SPARE
        raise SettingError(f"connections: this process may have {most} at most (ulimit -n {hard})")
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
