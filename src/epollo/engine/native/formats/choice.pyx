"""The format of a framing."""

from epollo.engine.native.formats.announced cimport (
    BcdFormat,
    BerFormat,
    DigitsFormat,
    DigitsUntilFormat,
    VarintFormat,
)
from epollo.engine.native.formats.base cimport FrameFormat
from epollo.engine.native.formats.delimiter cimport DelimiterFormat
from epollo.engine.native.formats.headers cimport HeadersFormat
from epollo.engine.native.formats.length cimport LengthFormat
from epollo.engine.native.formats.sized cimport SizedFormat
from epollo.engine.native.formats.unframed cimport FixedFormat, RawFormat

from epollo.framing import (
    Bcd,
    Ber,
    Delimiter,
    Digits,
    DigitsUntil,
    Enclosed,
    Fixed,
    Headers,
    LengthField,
    LengthPrefix,
    Line,
    Netstring,
    Raw,
    Sized,
    Varint,
)

# By the exact class: a subclass may have changed the format.
cdef dict _FORMATS = {
    LengthPrefix: LengthFormat,
    LengthField: LengthFormat,
    Digits: DigitsFormat,
    DigitsUntil: DigitsUntilFormat,
    Netstring: DigitsUntilFormat,
    Bcd: BcdFormat,
    Varint: VarintFormat,
    Ber: BerFormat,
    Delimiter: DelimiterFormat,
    Enclosed: DelimiterFormat,
    Line: DelimiterFormat,
    Headers: HeadersFormat,
    Fixed: FixedFormat,
    Raw: RawFormat,
}


cdef FrameFormat format_of(object framing):
    """The format of ``framing``. For a user's own framing, every frame is BAD."""
    if isinstance(getattr(framing, "sized", framing), Sized):
        return SizedFormat(framing)
    return _FORMATS.get(type(framing), FrameFormat)(framing)
