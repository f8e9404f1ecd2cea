"""The requests of one client that have no reply yet."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Generic, Protocol, TypeVar

from epollo.client.match import Match, describe
from epollo.errors import UsageError
from epollo.plurals import counted

MAX_OVERDUE = 1 << 16
"""Requests that were given up and whose replies may still come. A server that owes more of them is
given up too: the memory for them would have no bound."""


class Reply(Protocol):
    """The reply to one request, once it has come. An asyncio.Future is one."""

    def done(self) -> bool:
        """Has it come, or been given up?"""

    def set_result(self, message: bytes, /) -> None:
        """It has come."""


class TooManyOverdue(Exception):
    """Requests that were given up have taken all identifiers, or are `MAX_OVERDUE`."""


R = TypeVar("R", bound=Reply)


class OutstandingById(Generic[R]):
    """Requests and their replies, matched by an identifier.

    A request that was given up (timed out or cancelled) stays until its reply comes, which is
    dropped and counted. So its identifier cannot be used again meanwhile: the old reply would be
    taken for the new one.
    """

    def __init__(self, match: Match) -> None:
        self._match = match
        self._get_reply = match.get_reply or match.get
        self._replies: dict[Hashable, R] = {}
        self._number = 0  # of the next request, for Match.stamp
        self._check_at = MAX_OVERDUE
        self.late: int = 0  # replies dropped

    def __len__(self) -> int:
        return len(self._replies)

    def prepare(self, message: bytes) -> tuple[Hashable, bytes]:
        """The identifier of a request, and the message to send.

        Raises UsageError if it has none, or one that is in use; and what the user's functions
        raise.
        """
        self._check_overdue()
        if self._match.stamp is not None:
            return self._stamped(message, self._match.stamp)
        identifier = self._identifier(message)
        if (reply := self._replies.get(identifier)) is not None:
            why = (
                "its request was given up, and the reply may still come"
                if reply.done()
                else ("the request with it has no reply yet")
            )
            raise UsageError(
                f"match: the identifier {describe(identifier)} is in use: {why}; use another, or "
                "let Match.stamp write them"
            )
        return identifier, message

    def add(self, identifier: Hashable, reply: R) -> None:
        """The request with ``identifier`` is sent."""
        self._replies[identifier] = reply

    def waited_for(self) -> bool:
        """Does a caller wait for one of the replies?"""
        return any(not reply.done() for reply in reversed(self._replies.values()))

    def replies(self) -> list[R]:
        return list(self._replies.values())

    def clear(self) -> None:
        """The connection has ended: no reply can come."""
        self._replies.clear()
        self._check_at = MAX_OVERDUE

    def deliver(self, messages: list[bytes], pushes: Callable[[bytes], object]) -> None:
        """Give each of ``messages`` to its request, and those without a request to ``pushes``.
        Raises what the user's function raises; ``messages`` then begins with the one at fault."""
        done = 0
        try:
            for message in messages:
                identifier = self._get_reply(message)
                reply = None if identifier is None else self._replies.pop(identifier, None)
                done += 1
                if reply is None:
                    pushes(message)
                elif reply.done():
                    self.late += 1
                else:
                    reply.set_result(message)
        finally:
            del messages[:done]

    def _identifier(self, message: bytes) -> Hashable:
        identifier = self._match.get(message)
        if identifier is None or len(message) < self._match.needs:
            raise UsageError(
                f"match: a message of {counted(len(message), 'byte')} has no identifier to "
                "request by; use send for it"
            )
        return identifier

    def _stamped(
        self, message: bytes, stamp: Callable[[bytes, int], bytes]
    ) -> tuple[Hashable, bytes]:
        if len(message) < self._match.needs:
            self._identifier(message)
        for _ in range(len(self._replies) + 1):  # each may be in use by one of them
            stamped = stamp(message, self._number)
            self._number += 1
            identifier = self._identifier(stamped)
            if identifier not in self._replies:
                return identifier, stamped
        if any(reply.done() for reply in self._replies.values()):
            raise TooManyOverdue
        raise UsageError(
            "match: every identifier is in use by one of "
            f"{counted(len(self._replies), 'request')}; "
            "keep fewer in flight"
        )

    def _check_overdue(self) -> None:
        if len(self._replies) >= self._check_at:
            overdue = sum(reply.done() for reply in self._replies.values())
            if overdue >= MAX_OVERDUE:
                raise TooManyOverdue
            self._check_at = len(self._replies) + MAX_OVERDUE - overdue
