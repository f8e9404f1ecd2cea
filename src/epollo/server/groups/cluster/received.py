"""Which messages of others have come to one group, and how many have not."""

from __future__ import annotations

from epollo.server.groups.cluster.envelope import Envelope, Origin

KEPT_SECONDS = 600.0
"""For how long a silent origin is remembered. A origin that lives tells its last number at least
once in 64 seconds (`published`)."""

_MANY = 64  # origins, from which on the silent ones are looked for


class _Last:
    __slots__ = ("number", "seen", "stream")

    def __init__(self, stream: int, number: int, seen: float) -> None:
        self.stream, self.number, self.seen = stream, number, seen


class Received:
    """The last number of each origin, while this process has members of the group.

    What a origin published before its first message or its first TOLD here is not missed: those
    members may have joined later.
    """

    def __init__(self) -> None:
        self._last: dict[Origin, _Last] = {}

    def take(self, envelope: Envelope, *, told: bool, now: float) -> tuple[bool, int]:
        """Count a message or, if ``told``, only its number. Returns whether it is new, and how many
        before it, or up to the number told, have not come."""
        last = self._last.get(envelope.origin)
        number, stream = envelope.number, envelope.stream
        if last is None:
            self._forget_silent(now)
            self._last[envelope.origin] = _Last(stream, number, now)
            return True, 0
        last.seen = now
        if stream < last.stream or (stream == last.stream and number <= last.number):
            return False, 0
        before = last.number if stream == last.stream else 0
        last.stream, last.number = stream, number
        return True, number - before - (0 if told else 1)

    def _forget_silent(self, now: float) -> None:
        if len(self._last) >= _MANY:
            kept = {who: one for who, one in self._last.items() if one.seen > now - KEPT_SECONDS}
            self._last = kept
