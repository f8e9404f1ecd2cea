cdef class Traffic:
    cdef public long long messages_in
    cdef public long long messages_out
    cdef public long long bytes_in
    cdef public long long bytes_out
    cdef readonly double since
