"""What a message is on the wire, sans-I/O: bytes in, messages out, and back.

    framing = epollo.framing.parse("u32")
    framing.encode(b"hello")                            # b"\\x00\\x00\\x00\\x05hello"
    framing.decoder().feed(b"\\x00\\x00\\x00\\x05hello")     # [b"hello"]

The rules for all of them:

- Bytes may come split anywhere; the messages, and the byte at which an error is raised, are
  the same.
- ``max_frame`` bounds a whole frame on the wire, inclusive, and is checked as soon as the header
  is there: no body is waited for, and none allocated.
- Messages complete before a bad frame are delivered first (``FrameError.messages``); after an
  error the decoder stays failed.
- The end of the stream inside a frame is ``FrameTruncated``, never silence.
- An error says nothing of the stream before the bad frame: a new decoder, fed from the beginning
  of that frame, raises the same.
- An empty message is a message.
- Encoding what the framing cannot hold raises ``EncodeError`` before a byte is sent.
- Time is linear in the bytes, however small the pieces.
"""

from epollo.framing.base import DEFAULT_MAX_FRAME, Buffer, Decoder, Framing
from epollo.framing.delimiter import Delimiter, Line
from epollo.framing.fixed import Fixed
from epollo.framing.length import LengthField, LengthPrefix
from epollo.framing.netstring import Netstring
from epollo.framing.raw import Raw
from epollo.framing.spec import parse
from epollo.framing.varint import Varint

__all__ = [
    "DEFAULT_MAX_FRAME",
    "Buffer",
    "Decoder",
    "Delimiter",
    "Fixed",
    "Framing",
    "LengthField",
    "LengthPrefix",
    "Line",
    "Netstring",
    "Raw",
    "Varint",
    "parse",
]
