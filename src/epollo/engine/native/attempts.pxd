"""Errors that cost nothing until there is one.

A `try` with an `except` looks up the thread's state each time, and saves what is handled there. So
a function that may raise is called by a pointer of a type that is `noexcept`. If it returns its
error value, an error is set, and nothing but a function that begins with this may follow:

    try:
        raise_set()
    except BaseException as error:
        ...
"""

cdef extern from *:
    """
    static inline int epollo_raise_set(void) { return -1; }
    """
    int raise_set "epollo_raise_set"() except -1  # the error that is set
