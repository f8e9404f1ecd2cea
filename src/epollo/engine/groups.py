"""The groups of a connection, which its protocol keeps."""

from __future__ import annotations

from typing import Protocol

from epollo.engine.interface import ConnectionProtocol, Membership
from epollo.errors import GroupError


class GroupMember(Protocol):
    """A connection, which is in groups if its protocol has some."""

    @property
    def protocol(self) -> ConnectionProtocol: ...


def groups_of(connection: GroupMember) -> Membership:
    """The ``groups`` of its protocol. Raises GroupError if there are none."""
    groups: Membership | None = getattr(connection.protocol, "groups", None)
    if groups is None:
        kind = type(connection.protocol).__name__
        raise GroupError(f"{connection!r} has no groups: give its protocol, {kind}, a `groups`")
    return groups
