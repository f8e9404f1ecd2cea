"""Frames of which Python code says the size: see `epollo.framing.sized`.

That code is called once for headers that are alike: what it said is remembered, and with how many
bytes of the frame it could tell, as only those count. What it raises, and every other fault, is
left to the framing's own decoder.
"""

from cython cimport final
from cpython.bytearray cimport PyByteArray_AS_STRING, PyByteArray_GET_SIZE, PyByteArray_Resize
from cpython.object cimport PyObject
from cpython.ref cimport Py_REFCNT
from libc.stdint cimport UINT64_MAX, uint8_t, uint64_t
from libc.string cimport memcmp, memcpy

from epollo.engine.native.formats.base cimport (
    BAD,
    HEADER,
    PART,
    WHOLE,
    Envelope,
    Found,
    FrameFormat,
    Span,
)
from epollo.engine.native.formats.named cimport ASK, INVALID, UNKNOWN, find_measure
from epollo.engine.native.formats.words cimport WORD, Octets, begins_alike, u64_of

from types import MemberDescriptorType, MethodType

from epollo.framing import Header, Sized

cdef enum:
    LESSONS = 16


cdef extern from "Python.h":
    size_t PY_VECTORCALL_ARGUMENTS_OFFSET
    object PyObject_Vectorcall(object callable, PyObject **arguments, size_t count, PyObject *names)

cdef extern from "structmember.h":
    ctypedef struct PyMemberDef:
        Py_ssize_t offset
    ctypedef struct PyMemberDescrObject:
        PyMemberDef *d_member

# Where in a `Header` its `state` is. To set an attribute takes longer than all else here.
cdef object _STATE = Header.state
assert type(_STATE) is MemberDescriptorType
cdef Py_ssize_t STATE_OFFSET = (<PyMemberDescrObject *> _STATE).d_member.offset


@final
cdef class SizedFormat(FrameFormat):
    """One framing's; shared by the connections of one loop, so by one thread."""

    def __init__(self, framing):
        super().__init__(framing)
        own = getattr(framing, "sized", framing)
        self.asks = True
        self.measure, self.bound = own.measure, None
        if type(self.measure) is MethodType:
            self.measure, self.bound = self.measure.__func__, self.measure.__self__
        self.header_class = Header
        self.strip = min(own.strip, 1 << 62)
        self.encodes = type(own).encode is Sized.encode and not own.strip
        self._end_with(own.trailer)
        self.least = max(1, self.strip + self.trailer_size)
        self.filler = own.filler
        for byte in range(256):
            self.is_filler[byte] = byte in self.filler
        self.lessons = LESSONS
        find_measure(own, &self.own)
        if self.encodes:
            self.again.least = 0
        if self.trailer_size:
            self.last.ending = self.trailer_data[0]

    cdef Py_ssize_t skip_filler(self, Octets data, Py_ssize_t count) noexcept:
        """How many of the first bytes are filler."""
        cdef Py_ssize_t skipped = 0
        while skipped < count and self.is_filler[data[skipped]]:
            skipped += 1
        return skipped

    cdef Found find(self, Octets data, Py_ssize_t count, Py_ssize_t seen, Span *span) noexcept:
        cdef Py_ssize_t width = self.block_width
        if WORD <= width <= count and self.trailer_size <= 1:
            if begins_alike(data, self.block_data, width):
                span.start, span.size = self.strip, self.block_size
                span.stop = span.size - self.trailer_size
                if count < span.size:
                    return PART
                if not self.trailer_size or data[span.stop] == self.trailer_data[0]:
                    return WHOLE
                return BAD
        return self._find(data, count, span)

    cdef Found _find(self, Octets data, Py_ssize_t count, Span *span) noexcept:
        """The same for a frame that does not begin with the long header that is remembered."""
        cdef Py_ssize_t skipped = 0, width = 0, size = ASK
        if self.is_filler[data[0]]:
            skipped = self.skip_filler(data, count)
            if skipped >= count:
                return HEADER
        if self.own is not NULL:
            size = self.own(data + skipped, count - skipped, self.max_frame, False, &width)
        if size == ASK:
            size = self._size(data + skipped, count - skipped)
        elif size > 0 and not self.least <= size <= self.max_frame:
            size = INVALID
        if size <= 0:
            return HEADER if size == UNKNOWN else BAD
        span.start = skipped + self.strip
        span.size = skipped + size
        span.stop = span.size - self.trailer_size
        if width:
            self._learn(data + skipped, count - skipped, width, size)
        if count < span.size:
            return PART
        return WHOLE if self.ends_well(data, span) else BAD

    cdef Py_ssize_t _size(self, Octets data, Py_ssize_t count) noexcept:
        """The size of the frame at ``data`` as Python code says it, or UNKNOWN or INVALID."""
        cdef Py_ssize_t size = self.recall(data, count)
        return self._ask(data, count) if size == UNKNOWN else size

    cdef int _learn(
        self, Octets data, Py_ssize_t count, Py_ssize_t width, Py_ssize_t size
    ) noexcept:
        """Remember the header of a frame of a named protocol, if the one before had the same size:
        to learn takes longer than to measure."""
        if size != self.previous:
            self.previous = size
        elif WORD < width <= LOOK:
            self._remember_long(data, width, size)
        elif width <= WORD <= count:
            self._expect(u64_of(data), width, size)
        return 0

    cdef bint ends_well(self, Octets data, Span *span) noexcept:
        """Does the whole frame end with its trailer?"""
        cdef Py_ssize_t size = self.trailer_size
        return not size or not memcmp(data + span.stop, self.trailer_data, size)

    cdef bint wrap(self, Octets data, Py_ssize_t size, uint8_t *header, Envelope *sizes) noexcept:
        sizes.header = 0
        sizes.trailer = self.trailer_size
        if data is NULL or not size or not self.encodes or self.skip_filler(data, 1):
            return False
        cdef Py_ssize_t told, width
        if self.own is not NULL:
            told = self.own(data, size, self.max_frame, True, &width)
            if told != ASK:
                return told == size + sizes.trailer <= self.max_frame
        return self.recall(data, size) == size + sizes.trailer

    cdef int told_by(self, Py_ssize_t count) noexcept:
        """The code of a user has told a size when it had ``count`` bytes. It may not tell the same
        of a shorter message without the bytes behind that: so such a one is not sent unchecked."""
        if self.own is NULL:
            self.again.least = max(self.again.least, count)
        return 0

    # ---- What was said before

    cdef Py_ssize_t recall(self, Octets data, Py_ssize_t count) noexcept:
        """The size of the frame at ``data``, if it begins like an earlier one; else UNKNOWN."""
        cdef uint64_t begin = _begin_of(data, count)
        cdef Py_ssize_t width, i
        cdef Known *known
        for i in range(WIDTHS):
            width = self.widths[i]
            if not width or width > count:
                break
            known = &self.known[_slot(begin, width)]
            if known.width == width and not (known.begin ^ begin) & _mask(width):
                self._expect(begin, width, known.size)
                return known.size
        return self.block_size if self._is_block(data, count) else UNKNOWN

    cdef int _expect(self, uint64_t begin, Py_ssize_t width, Py_ssize_t size) noexcept:
        """The next frame may begin like this one: it is found without a call then."""
        if self.trailer_size <= 1:
            self.last.begin, self.last.mask = begin, _mask(width)
            self.last.span.start, self.last.span.size = self.strip, size
            self.last.span.stop = size - self.trailer_size
        return 0

    cdef int _remember(self, uint64_t begin, Py_ssize_t width, Py_ssize_t size) noexcept:
        """That a frame of ``size`` bytes begins with the ``width`` bytes of ``begin``."""
        cdef Known *known = &self.known[_slot(begin, width)]
        known.begin, known.width, known.size = begin & _mask(width), width, size
        return 0

    cdef bint _is_block(self, Octets data, Py_ssize_t count) noexcept:
        """Does the frame at ``data`` begin with the long header that is remembered?"""
        cdef Py_ssize_t width = self.block_width
        if not width or count < width:
            return False
        if width < WORD:
            return not memcmp(data, self.block_data, width)
        return begins_alike(data, self.block_data, width)

    cdef int _remember_long(self, Octets data, Py_ssize_t width, Py_ssize_t size) noexcept:
        """The same, of only one header."""
        memcpy(self.block_data, data, width)
        self.block_width, self.block_size = width, size
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

    cdef bint interrupted(self) noexcept:
        """Has `measure` raised KeyboardInterrupt or the like, which is still to be raised? Anything
        else that is left here is of another connection: forget it."""
        if isinstance(self.raised, Exception):
            self.raised = None
        return self.raised is not None

    cdef Py_ssize_t told(self, object header) noexcept:
        """What `measure` says about ``header``: a size, UNKNOWN or INVALID."""
        try:
            return self._say(header)
        except Exception:  # the framing's own decoder raises it again
            return INVALID
        except BaseException as error:
            self.raised = error
            return INVALID

    cdef Py_ssize_t _say(self, object header) except? -2:
        """The same. Raises what that raises."""
        cdef Py_ssize_t size, have = PyByteArray_GET_SIZE(header)
        cdef PyObject *arguments[3]
        cdef object measure = self.measure, bound = self.bound  # it may do anything
        arguments[0] = NULL
        arguments[1], arguments[2] = <PyObject *> bound, <PyObject *> header
        cdef Py_ssize_t first = 2 if bound is None else 1
        said = PyObject_Vectorcall(
            measure, arguments + first, <size_t> (3 - first) | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL
        )
        if PyByteArray_GET_SIZE(header) != have:  # then its own decoder cannot be asked
            self.raised = TypeError("the framing's measure changed its header")
            return INVALID
        if said is None:
            return UNKNOWN
        if not isinstance(said, int):
            return INVALID
        size = said
        return size if self.least <= size <= self.max_frame else INVALID

    cdef Py_ssize_t _ask(self, Octets data, Py_ssize_t count) noexcept:
        """The size of the frame at ``data``, or UNKNOWN or INVALID."""
        cdef object header = self.spare
        cdef PyObject *state
        cdef Py_ssize_t size
        if self.interrupted():  # by a signal, so `measure` would not raise it again
            return INVALID
        self.spare = None
        try:
            if header is None or Py_REFCNT(header) != 1:
                header = self.header_class()
            size = self._ask_each(header, data, count)
            state = (<PyObject **> (<char *> <PyObject *> header + STATE_OFFSET))[0]
            if state != <PyObject *> None:
                header.state = None
            if PyByteArray_GET_SIZE(header) <= LOOK:
                self.spare = header
            return size
        except Exception:  # of `measure`; MemoryError; BufferError if a view of the header is kept
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

    cdef Py_ssize_t _ask_with(
        self, object header, Octets data, Py_ssize_t width
    ) except? -2:
        """Ask with ``width`` bytes; remember what is said."""
        cdef uint8_t asked[LOOK]  # `measure` may change its header, and what is read next, `data`
        cdef uint64_t begin
        cdef Py_ssize_t size
        PyByteArray_Resize(header, width)
        memcpy(PyByteArray_AS_STRING(header), data, width)
        memcpy(asked, data, min(width, LOOK))
        begin = _begin_of(data, width)
        size = self._say(header)
        if size > 0:
            self.told_by(width)
            if width > LOOK:
                return size
            if width <= WORD and self._has_width(width):
                self._remember(begin, width, size)
            else:
                self._remember_long(asked, width, size)
        return size


cdef inline uint64_t _begin_of(Octets data, Py_ssize_t count) noexcept:
    """The first eight bytes, or zeros behind fewer."""
    cdef uint64_t begin = 0
    cdef Py_ssize_t i
    if count >= WORD:
        return u64_of(data)
    for i in range(count):
        begin |= <uint64_t> data[i] << (56 - 8 * i)
    return begin


cdef inline uint64_t _mask(Py_ssize_t width) noexcept:
    """Of the first ``width`` of eight bytes; it is at least one."""
    return UINT64_MAX << 8 * (WORD - width)


cdef inline Py_ssize_t _slot(uint64_t begin, Py_ssize_t width) noexcept:
    cdef uint64_t key = begin & _mask(width)
    return <Py_ssize_t> (((key ^ key >> 32) * <uint64_t> 0x9E3779B97F4A7C15) >> 58)  # Fibonacci
