"""The groups of a connection, which its protocol keeps."""

from __future__ import annotations

from typing import Protocol

from epollo.engine.base import ConnectionBase
from epollo.errors import GroupError


class Membership(Protocol):
    """The ``groups`` of a protocol that has some. Called from any thread."""

    def join(self, group: str, member: Member) -> None: ...
    def leave(self, group: str, member: Member) -> None: ...
    def of(self, member: Member) -> frozenset[str]: ...


class Member(ConnectionBase):
    """What a connection may ask of them."""

    __slots__ = ()

    def join(self, group: str) -> None:
        """Be sent what is published to ``group``, until `leave` or the close."""
        self._membership.join(group, self)

    def leave(self, group: str) -> None:
        """Be sent no more of what is published to ``group``."""
        self._membership.leave(group, self)

    @property
    def groups(self) -> frozenset[str]:
        """The groups it is in."""
        return self._membership.of(self)

    @property
    def _membership(self) -> Membership:
        groups: Membership | None = getattr(self.protocol, "groups", None)
        if groups is None:
            kind = type(self.protocol).__name__
            raise GroupError(f"{self!r} has no groups: give its protocol, {kind}, a `groups`")
        return groups
