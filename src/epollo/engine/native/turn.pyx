"""What all connections of a loop share, since one is served after the other."""

from cpython.mem cimport PyMem_Free, PyMem_Malloc


cdef class Turn:
    """One buffer to read into; one for the replies to that; and who is being served.

    So an idle connection has no buffer.
    """

    def __cinit__(self):
        self.dirty = []
        self.input = <uint8_t *> PyMem_Malloc(READ_SIZE)
        self.output = <uint8_t *> PyMem_Malloc(REPLY_SIZE)
        if self.input is NULL or self.output is NULL:
            raise MemoryError

    def __dealloc__(self):
        PyMem_Free(self.input)
        PyMem_Free(self.output)
