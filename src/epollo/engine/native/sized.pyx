"""Frames of which Python code says the size: see `epollo.framing.sized`.

That code is called once for headers that are alike: what it said is remembered, and with how many
bytes of the frame it could tell, as only those count. What it raises, and every other fault, is
left to the framing's own decoder.
"""

from cpython.bytearray cimport PyByteArray_AS_STRING, PyByteArray_GET_SIZE, PyByteArray_Resize
from cpython.ref cimport Py_REFCNT
from libc.stdint cimport uint8_t, uint64_t
from libc.string cimport memchr, memcmp, memcpy

from epollo.engine.native.formats cimport (
    BAD,
    HEADER,
    PART,
    WHOLE,
    Envelope,
    Found,
    FrameFormat,
    Octets,
    Span,
    u64_of,
)

from epollo.engine.native.formats import add_format
from epollo.framing import Header, Sized

cdef enum:
    LESSONS = 16
    UNKNOWN = 0
    INVALID = -1

cdef uint64_t ALL = ~(<uint64_t> 0)  # bits


cdef class SizedFormat(FrameFormat):
    """One framing's; shared by the connections of one loop, so by one thread."""

    def __init__(self, framing):
        super().__init__(framing)
        own = getattr(framing, "sized", framing)
        self.asks = True
        self.measure = own.measure
        self.header_class = Header
        self.strip = min(own.strip, 1 << 62)
        self.encodes = type(own).encode is Sized.encode and not own.strip
        self._end_with(own.trailer)
        self.least = max(1, self.strip + len(self.trailer))
        self.filler = own.filler
        self.filler_data, self.filler_size = self.filler, len(self.filler)
        self.lessons = LESSONS

    cdef Py_ssize_t skip_filler(self, Octets data, Py_ssize_t count) noexcept:
        """How many of the first bytes are filler."""
        cdef Py_ssize_t skipped = 0
        if not self.filler_size:
            return 0
        while skipped < count and memchr(self.filler_data, data[skipped], self.filler_size):
            skipped += 1
        return skipped

    cdef Found find(self, Octets data, Py_ssize_t count, Py_ssize_t seen, Span *span) noexcept:
        cdef Py_ssize_t skipped = self.skip_filler(data, count), size
        if skipped >= count:
            return HEADER
        size = self._recall(data + skipped, count - skipped)
        if size == UNKNOWN:
            size = self._ask(data + skipped, count - skipped)
        if size == UNKNOWN:
            return HEADER
        if size == INVALID:
            return BAD
        span.start = skipped + self.strip
        span.size = skipped + size
        span.stop = span.size - len(self.trailer)
        if count < span.size:
            return PART
        return WHOLE if self.ends_well(data, span) else BAD

    cdef bint ends_well(self, Octets data, Span *span) noexcept:
        """Does the whole frame end with its trailer?"""
        cdef Py_ssize_t size = span.size - span.stop
        return not size or not memcmp(data + span.stop, self.trailer_data, size)

    cdef bint wrap(self, Octets data, Py_ssize_t size, uint8_t *header, Envelope *sizes) noexcept:
        sizes.header = 0
        sizes.trailer = len(self.trailer)
        if data is NULL or not size or not self.encodes or self.skip_filler(data, 1):
            return False
        return self._recall(data, size) == size + sizes.trailer

    # ---- What was said before

    cdef Py_ssize_t _recall(self, Octets data, Py_ssize_t count) noexcept:
        """The size of the frame at ``data``, if it begins like an earlier one; else UNKNOWN."""
        cdef uint64_t begin
        cdef Py_ssize_t width, i
        cdef Known *known
        if count >= WORD:
            begin = u64_of(data)
        else:
            begin = 0
            for i in range(count):
                begin |= <uint64_t> data[i] << (56 - 8 * i)
        for i in range(WIDTHS):
            width = self.widths[i]
            if not width or width > count:
                break
            known = &self.known[_slot(begin, width)]
            if known.width == width and not (known.begin ^ begin) & _mask(width):
                return known.size
        width = self.block_width
        if width and width <= count and not memcmp(data, self.block, width):
            return self.block_size
        return UNKNOWN

    cdef int _remember(self, Octets data, Py_ssize_t width, Py_ssize_t size) noexcept:
        """That a frame of ``size`` bytes begins with the ``width`` bytes at ``data``."""
        cdef uint64_t begin = 0
        cdef Py_ssize_t i
        cdef Known *known
        if width > WORD or not self._has_width(width):
            memcpy(self.block, data, width)
            self.block_width, self.block_size = width, size
            return 0
        for i in range(width):
            begin |= <uint64_t> data[i] << (56 - 8 * i)
        known = &self.known[_slot(begin, width)]
        known.begin, known.width, known.size = begin, width, size
        return 0

    cdef bint _has_width(self, Py_ssize_t width) noexcept:
        """Is ``width`` one of the known widths, now?"""
        cdef Py_ssize_t at = 0, i
        while at < WIDTHS and self.widths[at] and self.widths[at] < width:
            at += 1
        if at < WIDTHS and self.widths[at] == width:
            return True
        if self.widths[WIDTHS - 1]:  # all are in use
            return False
        for i in range(WIDTHS - 1, at, -1):
            self.widths[i] = self.widths[i - 1]
        self.widths[at] = width
        return True

    # ---- What Python code says

    cdef object new_header(self):
        return self.header_class()

    cdef Py_ssize_t told(self, object header) noexcept:
        """What `measure` says about ``header``: a size, UNKNOWN or INVALID."""
        cdef Py_ssize_t size, have = PyByteArray_GET_SIZE(header)
        try:
            said = self.measure(header)
            if PyByteArray_GET_SIZE(header) != have:  # then its own decoder cannot be asked
                self.raised = TypeError("the framing's measure changed its header")
                return INVALID
            if said is None:
                return UNKNOWN
            if not isinstance(said, int):
                return INVALID
            size = said
        except Exception:  # the framing's own decoder raises it again
            return INVALID
        except BaseException as error:
            self.raised = error
            return INVALID
        return size if self.least <= size <= self.max_frame else INVALID

    cdef Py_ssize_t _ask(self, Octets data, Py_ssize_t count) noexcept:
        """The size of the frame at ``data``, or UNKNOWN or INVALID."""
        cdef object header = self.spare
        self.spare = self.raised = None  # the latter of another connection, which has not met it
        try:
            if header is None or Py_REFCNT(header) != 1:
                header = self.header_class()
            header.state = None
            size = self._ask_each(header, data, count)
            if PyByteArray_GET_SIZE(header) <= LOOK:
                self.spare = header
            return size
        except Exception:  # MemoryError; BufferError, if a view of the header was kept
            return INVALID
        except BaseException as error:
            self.raised = error
            return INVALID

    cdef Py_ssize_t _ask_each(self, object header, Octets data, Py_ssize_t count) except? -2:
        """Ask with more and more bytes. At first each width is tried, to learn the shortest."""
        cdef Py_ssize_t size = UNKNOWN, width = 0, i
        if self.lessons:
            self.lessons -= 1
            while width < min(WORD, count) and size == UNKNOWN:
                width += 1
                size = self._ask_with(header, data, width)
        else:
            for i in range(WIDTHS):
                if size == UNKNOWN and width < self.widths[i] <= count:
                    width = self.widths[i]
                    size = self._ask_with(header, data, width)
        while size == UNKNOWN and width < min(count, self.max_frame):
            width = min(min(count, self.max_frame), max(LOOK, 2 * width))
            size = self._ask_with(header, data, width)
        return size

    cdef Py_ssize_t _ask_with(self, object header, Octets data, Py_ssize_t width) except? -2:
        """Ask with ``width`` bytes; remember what is said."""
        cdef uint8_t asked[LOOK]  # `measure` may change its header, and what is read next, `data`
        PyByteArray_Resize(header, width)
        memcpy(PyByteArray_AS_STRING(header), data, width)
        if width <= LOOK:
            memcpy(asked, data, width)
        cdef Py_ssize_t size = self.told(header)
        if size > 0 and width <= LOOK:
            self._remember(asked, width, size)
        return size


add_format(Sized, SizedFormat)


cdef inline uint64_t _mask(Py_ssize_t width) noexcept:
    """Of the first ``width`` of eight bytes; it is at least one."""
    return ALL << 8 * (WORD - width)


cdef inline Py_ssize_t _slot(uint64_t begin, Py_ssize_t width) noexcept:
    cdef uint64_t key = begin & _mask(width)
    return <Py_ssize_t> (((key ^ key >> 32) * <uint64_t> 0x9E3779B97F4A7C15) >> 58)  # Fibonacci
