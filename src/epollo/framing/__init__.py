"""Framing: how messages are encoded as bytes, and decoded again, without I/O.

    framing = epollo.framing.parse("u32")
    framing.encode(b"hello")                            # b"\\x00\\x00\\x00\\x05hello"
    framing.decoder().feed(b"\\x00\\x00\\x00\\x05hello")     # [b"hello"]

The rules of every framing:

- The stream may be split anywhere: the messages, and the byte at which an error is raised, are
  the same.
- ``max_frame`` is the largest size of a whole frame, header included. It is checked as soon as the
  header is complete, before a body is received or allocated.
- Messages completed before a bad frame are delivered first (``FrameError.messages``). After an
  error every call of the decoder fails.
- If the stream ends inside a frame, ``FrameTruncated`` is raised.
- An error does not depend on the stream before the bad frame: a new decoder, fed from the start of
  that frame, raises the same.
- An empty message is a message.
- A message that the framing cannot carry raises ``EncodeError`` before a byte is sent.
- Time is linear in the number of bytes, however small the pieces.
"""

from epollo.framing.announced import Announced
from epollo.framing.base import DEFAULT_MAX_FRAME, AnyFraming, Buffer, Decoder, Framing
from epollo.framing.bcd import Bcd
from epollo.framing.ber import Ber
from epollo.framing.delimiter import Delimiter, Line
from epollo.framing.digits import Digits, DigitsUntil
from epollo.framing.enclosed import Enclosed
from epollo.framing.fixed import Fixed
from epollo.framing.headers import Headers
from epollo.framing.length import LengthField, LengthPrefix
from epollo.framing.netstring import Netstring
from epollo.framing.raw import Raw
from epollo.framing.sized import Header, Sized
from epollo.framing.spec import parse
from epollo.framing.varint import Varint

__all__ = [
    "DEFAULT_MAX_FRAME",
    "Announced",
    "AnyFraming",
    "Bcd",
    "Ber",
    "Buffer",
    "Decoder",
    "Delimiter",
    "Digits",
    "DigitsUntil",
    "Enclosed",
    "Fixed",
    "Framing",
    "Header",
    "Headers",
    "LengthField",
    "LengthPrefix",
    "Line",
    "Netstring",
    "Raw",
    "Sized",
    "Varint",
    "parse",
]
