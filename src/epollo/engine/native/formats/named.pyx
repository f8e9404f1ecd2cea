"""What `epollo.framing.named` says about the size of a frame, once more: without Python objects.

Only what a valid frame looks like is repeated here, for frames that came whole. Everything else is
INVALID, and the framing's own decoder has all rules and all errors.
"""

from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.string cimport memchr, memcmp

import sys

from epollo.engine.native.formats.words cimport Octets, u32_of, u64_of

cdef enum:
    MOST_DIGITS = 18
    MOST_NATS_LINE = 4096
    MOST_REDIS_LINE = 1 << 16
    MOST_STOMP_HEADERS = 1 << 16

cdef Py_ssize_t amqp(
    Octets data, Py_ssize_t count, Py_ssize_t most, bint ended, Py_ssize_t *width
) noexcept:
    if data[0] == c"A":
        if count < 4:
            return UNKNOWN
        return INVALID if memcmp(data, b"AMQP", 4) else 8
    width[0] = 7
    return 8 + <Py_ssize_t> u32_of(data + 3) if count >= 7 else UNKNOWN


cdef Py_ssize_t postgresql(
    Octets data, Py_ssize_t count, Py_ssize_t most, bint ended, Py_ssize_t *width
) noexcept:
    cdef Py_ssize_t typed = 1 if data[0] else 0
    if count < 4 + typed:
        return UNKNOWN
    cdef Py_ssize_t length = u32_of(data + typed)
    width[0] = 4 + typed
    return INVALID if length < 4 else typed + length


cdef Py_ssize_t gt06(
    Octets data, Py_ssize_t count, Py_ssize_t most, bint ended, Py_ssize_t *width
) noexcept:
    if count < 3:
        return UNKNOWN
    if data[0] == c"x" and data[1] == c"x":
        return data[2] + 5
    if data[0] != c"y" or data[1] != c"y":
        return INVALID
    return (data[2] << 8 | data[3]) + 6 if count >= 4 else UNKNOWN


cdef Py_ssize_t websocket(
    Octets data, Py_ssize_t count, Py_ssize_t most, bint ended, Py_ssize_t *width
) noexcept:
    if count < 2:
        return UNKNOWN
    cdef Py_ssize_t size = data[1] & 0x7F, mask = 4 if data[1] & 0x80 else 0
    if size < 126:
        width[0] = 2
        return 2 + mask + size
    if size == 126:
        if count < 4:
            return UNKNOWN
        size = data[2] << 8 | data[3]
        width[0] = 4
        return INVALID if size < 126 else 4 + mask + size
    if count < 10:
        return UNKNOWN
    cdef uint64_t length = u64_of(data + 2)
    return INVALID if length < 1 << 16 or length >> 62 else 10 + mask + <Py_ssize_t> length


cdef Py_ssize_t pkt_line(
    Octets data, Py_ssize_t count, Py_ssize_t most, bint ended, Py_ssize_t *width
) noexcept:
    cdef Py_ssize_t size = 0, i
    cdef uint8_t digit
    width[0] = 4
    if count < 4:
        return UNKNOWN
    for i in range(4):
        digit = data[i]
        if c"0" <= digit <= c"9":
            size = size << 4 | digit - c"0"
        elif c"a" <= digit | 0x20 <= c"f":
            size = size << 4 | (digit | 0x20) - c"a" + 10
        else:
            return INVALID
    return INVALID if size == 3 else max(4, size)


cdef Py_ssize_t fix(
    Octets data, Py_ssize_t count, Py_ssize_t most, bint ended, Py_ssize_t *width
) noexcept:
    cdef Py_ssize_t at = 2, digits = 0
    cdef int64_t length = 0
    if count < 24:  # as many as the first two fields have, at most, and one more
        return ASK
    if data[0] != c"8" or data[1] != c"=":
        return INVALID
    while at < 11 and (
        c"A" <= data[at] <= c"Z" or c"0" <= data[at] <= c"9" or data[at] == c"."
    ):
        at += 1
    if not 5 <= at <= 10 or data[at] != 1 or data[at + 1] != c"9" or data[at + 2] != c"=":
        return INVALID
    at += 3
    while digits < 10 and c"0" <= data[at + digits] <= c"9":
        length = 10 * length + data[at + digits] - c"0"
        digits += 1
    if not 1 <= digits <= 9 or data[at + digits] != 1:
        return INVALID
    width[0] = at + digits + 1
    return at + digits + 1 + length + 7


cdef Py_ssize_t rtsp(
    Octets data, Py_ssize_t count, Py_ssize_t most, bint ended, Py_ssize_t *width
) noexcept:
    if data[0] != c"$":
        return ASK
    width[0] = 4
    return 4 + (data[2] << 8 | data[3]) if count >= 4 else UNKNOWN


cdef Py_ssize_t netconf(
    Octets data, Py_ssize_t count, Py_ssize_t most, bint ended, Py_ssize_t *width
) noexcept:
    cdef Py_ssize_t at = 0, digits
    cdef int64_t size
    while at < count - 2:  # a chunk begins with three bytes or more
        if data[at] != c"\n" or data[at + 1] != c"#":
            return INVALID
        at += 2
        if data[at] == c"#":
            if at + 1 >= count:
                return UNKNOWN
            return at + 2 if data[at + 1] == c"\n" else INVALID
        size = digits = 0
        while at < count and digits < 10 and c"0" <= data[at] <= c"9":
            size = 10 * size + data[at] - c"0"
            at += 1
            digits += 1
            if not size:
                return INVALID
        if at >= count:
            return UNKNOWN
        if not digits or data[at] != c"\n":
            return INVALID
        at += 1 + size
        if at > most:
            return INVALID
    return UNKNOWN


cdef Py_ssize_t nats(
    Octets data, Py_ssize_t count, Py_ssize_t most, bint ended, Py_ssize_t *width
) noexcept:
    cdef Octets end = <Octets> memchr(data, c"\n", min(count, MOST_NATS_LINE)), word, last, stop
    cdef Py_ssize_t size, words = 0
    cdef int64_t payload
    if end is NULL:
        return INVALID if count >= MOST_NATS_LINE else UNKNOWN
    width[0] = size = end + 1 - data
    payload = _last_number(data, end)
    if payload >= 0:
        return size + payload + 2
    while data < end and is_blank(data[0]):
        data += 1
    word = data
    while data < end and not is_blank(data[0]):
        data += 1
    if not _has_payload(word, data - word):
        return size
    last = stop = data
    while data < end:
        while data < end and is_blank(data[0]):
            data += 1
        if data < end:
            words += 1
            last = data
            while data < end and not is_blank(data[0]):
                data += 1
            stop = data
    payload = _decimal(last, stop - last)
    return INVALID if words < 2 or payload < 0 else size + payload + 2


cdef inline int64_t _last_number(Octets line, Octets end) noexcept:
    """The size of the payload in a line such as clients write it; -1 for any other line."""
    cdef Octets begin
    cdef int64_t number = 0, unit = 1
    if end - line < 8 or (end - 1)[0] != c"\r":
        return -1
    if line[0] == c"H":
        line += 1
    if line[3] != c" " or is_blank(line[4]) or not _has_payload(line, 3):
        return -1
    line += 5  # behind the first byte of the second word
    begin = end = end - 1
    while begin > line and end - begin < MOST_DIGITS and c"0" <= (begin - 1)[0] <= c"9":
        begin -= 1
        number += unit * (begin[0] - c"0")
        unit *= 10
    if begin == end or begin == line or (begin - 1)[0] != c" ":
        return -1
    return number


cdef bint _has_payload(Octets word, Py_ssize_t size) noexcept:
    """Is it one of PUB, HPUB, MSG and HMSG, in any case?"""
    if size == 4 and word[0] & 0xDF == c"H":
        word += 1
        size = 3
    if size != 3:
        return False
    cdef uint8_t first = word[0] & 0xDF, second = word[1] & 0xDF, third = word[2] & 0xDF
    return (first == c"P" and second == c"U" and third == c"B") or (
        first == c"M" and second == c"S" and third == c"G"
    )


cdef Py_ssize_t stomp(
    Octets data, Py_ssize_t count, Py_ssize_t most, bint ended, Py_ssize_t *width
) noexcept:
    cdef Octets line, stop = data + min(count, MOST_STOMP_HEADERS), end = NULL, found = data
    cdef Octets length = NULL
    cdef Py_ssize_t body
    cdef int64_t number
    while True:
        line = <Octets> memchr(found, c"\n", stop - found)
        if line is NULL or line + 2 >= stop:
            return ASK  # few bytes, or too many
        line += 1
        if line[0] == c"\n":
            body = line + 1 - data
            break
        if line[0] == c"\r" and line[1] == c"\n":
            body = line + 2 - data
            break
        if length is NULL and stop - line > 15 and not memcmp(line, b"content-length:", 15):
            length = line + 15
        found = line
    if memchr(data, 0, body) is not NULL:
        return INVALID
    if length is not NULL:
        end = length
        while end[0] != c"\r" and end[0] != c"\n":
            end += 1
        number = _decimal(length, end - length)
        width[0] = body
        return INVALID if number < 0 else body + number + 1
    end = <Octets> memchr(data + body, 0, count - body)
    if end is NULL:
        return count + 1 if ended else UNKNOWN
    return end - data + 1


cdef Py_ssize_t redis(
    Octets data, Py_ssize_t count, Py_ssize_t most, bint ended, Py_ssize_t *width
) noexcept:
    cdef Py_ssize_t at = 0
    cdef int64_t left = 1, number
    cdef Octets end
    cdef uint8_t kind
    while left:
        if at > most or (at and at + left * 3 > most):
            return INVALID
        if at >= count:
            return UNKNOWN
        kind = data[at]
        end = _short_line(data + at, count - at, &number)
        if end is not NULL and (kind == c"$" or kind == c"*"):  # what most values are
            width[0] = at = end + 1 - data
            left -= 1
            if kind == c"$":
                at += number + 2
            else:
                left += number
            continue
        if end is NULL:
            end = <Octets> memchr(data + at, c"\n", min(count - at, MOST_REDIS_LINE))
        if end is NULL:
            return INVALID if count - at >= MOST_REDIS_LINE else UNKNOWN
        left -= 1
        number = -2
        if kind == c"$" or kind == c"*" or kind == c"!" or kind == c"=" or (
            kind == c"~" or kind == c">" or kind == c"%" or kind == c"|"
        ):
            if (end - 1)[0] != c"\r":
                return INVALID
            number = _number(data + at + 1, end - 1 - (data + at + 1))
            if number < -1:
                return INVALID
        elif memchr(b"+-:_#,(", kind, 7) is not NULL:
            if (end - 1)[0] != c"\r":
                return INVALID
        elif at:
            return INVALID  # else a command in plain text
        width[0] = at = end + 1 - data
        if kind == c"$" or kind == c"!" or kind == c"=":
            if number >= 0:
                at += number + 2
        elif number > 0 and number > most:
            return INVALID
        elif number > 0:
            left += 2 * number if kind == c"%" or kind == c"|" else number
        if kind == c"|":
            left += 1
    return at


cdef inline Octets _short_line(Octets line, Py_ssize_t count, int64_t *number) noexcept:
    """The LF of a line of one byte, one to five digits, and CR LF; NULL for any other line."""
    cdef Py_ssize_t at = 1
    number[0] = 0
    if count < 9:
        return NULL
    while at < 6 and c"0" <= line[at] <= c"9":
        number[0] = 10 * number[0] + line[at] - c"0"
        at += 1
    if at == 1 or line[at] != c"\r" or line[at + 1] != c"\n":
        return NULL
    return line + at + 1


cdef int64_t _number(Octets text, Py_ssize_t size) noexcept:
    """The number, which may be -1; -2 if it is not a number."""
    cdef int64_t number
    if size == 2 and text[0] == c"-" and text[1] == c"1":
        return -1
    number = _decimal(text, size)
    return -2 if number < 0 else number


cdef int64_t _decimal(Octets text, Py_ssize_t size) noexcept:
    """The number; -1 if it is not a number."""
    cdef int64_t number = 0
    cdef Py_ssize_t i
    if not 0 < size <= MOST_DIGITS:
        return -1
    for i in range(size):
        if not c"0" <= text[i] <= c"9":
            return -1
        number = 10 * number + text[i] - c"0"
    return number


cdef Py_ssize_t msgpack(
    Octets data, Py_ssize_t count, Py_ssize_t most, bint ended, Py_ssize_t *width
) noexcept:
    cdef Py_ssize_t at = 0, size
    cdef int64_t left = 1, number
    cdef uint8_t kind
    while left:
        if at + left > most:
            return INVALID
        if at >= count:
            return UNKNOWN
        kind = data[at]
        left -= 1
        at += 1
        if kind < 0x80 or kind >= 0xE0:
            continue
        if kind < 0x90:
            left += 2 * (kind & 0x0F)
        elif kind < 0xA0:
            left += kind & 0x0F
        elif kind < 0xC0:
            at += kind & 0x1F
        elif kind == 0xC1:
            return INVALID
        elif FIXED[kind - 0xC0] >= 0:
            at += FIXED[kind - 0xC0]
        else:
            size = -FIXED[kind - 0xC0]
            if at + size > count:
                return UNKNOWN
            number = data[at] if size == 1 else data[at] << 8 | data[at + 1]
            if size == 4:
                number = u32_of(data + at)
            at += size
            if kind >= 0xDE:
                left += 2 * number
            elif kind >= 0xDC:
                left += number
            else:
                at += number + (1 if 0xC7 <= kind <= 0xC9 else 0)
    return at


# Of the kinds from 0xC0 on: the bytes behind it; or, negative, those of a count.
cdef int[32] FIXED = [
    0, 0, 0, 0, -1, -2, -4, -1, -2, -4, 4, 8, 1, 2, 4, 8,
    1, 2, 4, 8, 2, 3, 5, 9, 17, -1, -2, -4, -2, -4, -2, -4,
]


cdef inline bint is_blank(uint8_t byte) noexcept:
    """As `bytes.split` has it."""
    return byte == 0x20 or 9 <= byte <= 13


cdef struct Named:
    const char *module
    const char *name
    Measure measure

cdef Named[12] NAMED = [
    Named(b"amqp", b"Amqp", amqp),
    Named(b"fix", b"Fix", fix),
    Named(b"gt06", b"Gt06", gt06),
    Named(b"msgpack", b"MessagePack", msgpack),
    Named(b"nats", b"Nats", nats),
    Named(b"netconf", b"Chunks", netconf),
    Named(b"pkt_line", b"PktLine", pkt_line),
    Named(b"postgresql", b"PostgreSQL", postgresql),
    Named(b"redis", b"Redis", redis),
    Named(b"rtsp", b"Rtsp", rtsp),
    Named(b"stomp", b"Stomp", stomp),
    Named(b"websocket", b"WebSocket", websocket),
]


cdef int find_measure(object framing, Measure *measure) except -1:
    """Set the one for ``framing``; NULL for another class, or with a `measure` of its own."""
    cdef Named *named
    cdef int i
    measure[0] = NULL
    if "measure" in getattr(framing, "__dict__", ()):
        return 0
    for i in range(12):
        named = &NAMED[i]
        module = sys.modules.get("epollo.framing.named." + named.module.decode())
        if module is not None and type(framing) is getattr(module, named.name.decode()):
            measure[0] = named.measure
    return 0
