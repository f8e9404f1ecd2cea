"""A search for one byte near by, without a call."""

from epollo.engine.native.formats.words cimport Octets


cdef extern from *:
    """
    #include <stdint.h>
    #include <string.h>
    #if defined(__SSE2__)
    #include <emmintrin.h>

    /* Which of 16 bytes are like those of `wanted`. */
    static inline __m128i epollo_equal(const uint8_t *data, const uint8_t *wanted) {
        return _mm_cmpeq_epi8(
            _mm_loadu_si128((const __m128i *) data), _mm_loadu_si128((const __m128i *) wanted)
        );
    }

    static inline int epollo_first_of_64(const uint8_t *data, const uint8_t *wanted) {
        for (int i = 0; i < 64; i += 16) {
            int found = _mm_movemask_epi8(epollo_equal(data + i, wanted));
            if (found)
                return i + __builtin_ctz(found);
        }
        return 64;
    }

    /* Of 32 to 64 bytes. */
    static inline int epollo_any_of(const uint8_t *data, size_t count, const uint8_t *wanted) {
        __m128i begin = _mm_or_si128(epollo_equal(data, wanted), epollo_equal(data + 16, wanted));
        const uint8_t *end = data + count;
        return _mm_movemask_epi8(_mm_or_si128(begin, _mm_or_si128(
            epollo_equal(end - 32, wanted), epollo_equal(end - 16, wanted)
        )));
    }

    static inline int epollo_has(const uint8_t *data, size_t count, const uint8_t *wanted) {
        if (count < 32 || count > 128)
            return memchr(data, wanted[0], count) != NULL;
        if (count <= 64)
            return epollo_any_of(data, count, wanted);
        return epollo_any_of(data, 64, wanted) || epollo_any_of(data + count - 64, 64, wanted);
    }
    #else
    static inline int epollo_first_of_64(const uint8_t *data, const uint8_t *wanted) {
        const uint8_t *found = memchr(data, wanted[0], 64);
        return found ? (int) (found - data) : 64;
    }

    static inline int epollo_has(const uint8_t *data, size_t count, const uint8_t *wanted) {
        return memchr(data, wanted[0], count) != NULL;
    }
    #endif
    """
    # A call of memchr(3) costs more than to look at 64 bytes here. `wanted` is 16 times one byte.
    int first_of_64 "epollo_first_of_64"(Octets data, Octets wanted) nogil  # 64: it is not there
    bint has "epollo_has"(Octets data, size_t count, Octets wanted) nogil
