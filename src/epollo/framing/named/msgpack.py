"""Values of MessagePack, one after the other (MessagePack specification, "Formats")."""

from __future__ import annotations

from epollo.errors import FrameCorrupt
from epollo.framing.sized import Header, Sized

_FIXED = {  # bytes behind the first one
    0xC0: 0,
    0xC2: 0,
    0xC3: 0,
    0xCA: 4,
    0xCB: 8,
    0xCC: 1,
    0xCD: 2,
    0xCE: 4,
    0xCF: 8,
    0xD0: 1,
    0xD1: 2,
    0xD2: 4,
    0xD3: 8,
    0xD4: 2,
    0xD5: 3,
    0xD6: 5,
    0xD7: 9,
    0xD8: 17,
}
_COUNTED = {  # bytes of a count; bytes and values for each that it counts; bytes behind it
    0xC4: (1, 1, 0, 0),
    0xC5: (2, 1, 0, 0),
    0xC6: (4, 1, 0, 0),
    0xC7: (1, 1, 0, 1),
    0xC8: (2, 1, 0, 1),
    0xC9: (4, 1, 0, 1),
    0xD9: (1, 1, 0, 0),
    0xDA: (2, 1, 0, 0),
    0xDB: (4, 1, 0, 0),
    0xDC: (2, 0, 1, 0),
    0xDD: (4, 0, 1, 0),
    0xDE: (2, 0, 2, 0),
    0xDF: (4, 0, 2, 0),
}


class MessagePack(Sized):
    """The message is one value: msgpack-rpc, Fluent forward, Neovim."""

    def measure(self, header: Header) -> int | None:
        at, left = header.state or (0, 1)
        while left:
            if at + left > self.max_frame:
                return at + left
            value = _value(header, at) if at < len(header) else None
            if value is None:
                header.state = at, left
                return None
            at, left = at + value[0], left - 1 + value[1]
        return at


def _value(header: Header, at: int) -> tuple[int, int] | None:
    """The bytes of the value at ``at``, and the values in it; None if there are too few bytes."""
    kind = header[at]
    if kind < 0x80 or kind >= 0xE0:
        return 1, 0
    if kind < 0xC0:
        count = kind & (0x1F if kind >= 0xA0 else 0x0F)
        return (1 + count, 0) if kind >= 0xA0 else (1, count * (2 if kind < 0x90 else 1))
    if kind in _FIXED:
        return 1 + _FIXED[kind], 0
    if kind not in _COUNTED:
        raise FrameCorrupt(f"0x{kind:02x} begins no value")
    width, each, values, more = _COUNTED[kind]
    if at + 1 + width > len(header):
        return None
    count = int.from_bytes(header[at + 1 : at + 1 + width], "big")
    return 1 + width + each * count + more, values * count
