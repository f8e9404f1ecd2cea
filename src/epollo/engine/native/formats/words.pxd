"""Bytes as words of the machine, and in the order of the network."""

from libc.stdint cimport uint8_t, uint32_t, uint64_t

ctypedef const uint8_t *Octets

cdef enum:
    WORD = 8  # bytes

cdef extern from *:
    """
    #include <stdint.h>

    static inline uint64_t epollo_word(const uint8_t *data) {
        uint64_t word;
        __builtin_memcpy(&word, data, sizeof(word));
        return word;
    }

    static inline uint32_t epollo_word32(const uint8_t *data) {
        uint32_t word;
        __builtin_memcpy(&word, data, sizeof(word));
        return word;
    }

    static inline void epollo_put_word(uint8_t *place, uint64_t word) {
        __builtin_memcpy(place, &word, sizeof(word));
    }

    static inline void epollo_put_word32(uint8_t *place, uint32_t word) {
        __builtin_memcpy(place, &word, sizeof(word));
    }

    #if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    #define epollo_big(word) __builtin_bswap64(word)
    #define epollo_big32(word) __builtin_bswap32(word)
    #define epollo_little(word) (word)
    #else
    #define epollo_big(word) (word)
    #define epollo_big32(word) (word)
    #define epollo_little(word) __builtin_bswap64(word)
    #endif
    """
    # Words in the order of the machine.
    uint64_t word_of "epollo_word"(Octets data) nogil
    uint32_t word32_of "epollo_word32"(Octets data) nogil
    void put_word "epollo_put_word"(uint8_t *place, uint64_t word) nogil
    void put_word32 "epollo_put_word32"(uint8_t *place, uint32_t word) nogil
    # The same words with the most significant byte first, or the least significant one.
    uint64_t big "epollo_big"(uint64_t word) nogil
    uint32_t big32 "epollo_big32"(uint32_t word) nogil
    uint64_t little "epollo_little"(uint64_t word) nogil


cdef inline bint begins_alike(Octets data, Octets other, Py_ssize_t size) noexcept:
    """Are the first ``size`` bytes the same? At least a word; for few of them, without a call."""
    cdef Py_ssize_t i = 0
    while i < size - WORD:
        if word_of(data + i) != word_of(other + i):
            return False
        i += WORD
    return word_of(data + size - WORD) == word_of(other + size - WORD)


# The most significant byte first.


cdef inline uint32_t u32_of(Octets data) noexcept:
    return big32(word32_of(data))


cdef inline void put_u32(uint8_t *place, uint32_t value) noexcept:
    put_word32(place, big32(value))


cdef inline uint64_t u64_of(Octets data) noexcept:
    return big(word_of(data))


cdef inline void put_u64(uint8_t *place, uint64_t value) noexcept:
    put_word(place, big(value))
