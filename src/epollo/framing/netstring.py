"""Netstrings, as specified by D. J. Bernstein (cr.yp.to/proto/netstrings.txt)."""

from __future__ import annotations

from epollo.framing.digits import DigitsUntil


class Netstring(DigitsUntil):
    """A decimal length without leading zeros, a colon, a message of that length, a comma.

    ``max_frame`` limits the whole frame.
    """

    trailer: bytes = b","
    what: str = "netstring length"

    def __init__(self, name: str, max_frame: int) -> None:
        super().__init__(name, max_frame, end=b":")
