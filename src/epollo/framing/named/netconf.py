"""NETCONF with chunks, from version 1.1 on (RFC 6242, 4.2)."""

from __future__ import annotations

import re

from epollo.errors import FrameCorrupt
from epollo.framing.sized import Header, Sized

_CHUNK = re.compile(rb"\n#(?:([1-9][0-9]{0,9})|#)\n")
_BEGUN = re.compile(rb"\n(?:#(?:#|[1-9][0-9]{0,9})?)?")


class Chunks(Sized):
    """Chunks, each behind its size, and the end of chunks. The message is the whole frame."""

    def measure(self, header: Header) -> int | None:
        at = header.state or 0
        while at < len(header):
            chunk = _CHUNK.match(header, at)
            if chunk is None:
                if not _BEGUN.fullmatch(header, at):
                    raise FrameCorrupt("a chunk does not begin with LF, # and its size")
                break
            if chunk[1] is None:
                return chunk.end()
            header.state = at = chunk.end() + int(chunk[1])
        return at if at > self.max_frame else None
