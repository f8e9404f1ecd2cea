from cython cimport final
from libc.stdint cimport int64_t
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec

from epollo.bench.run.native.recorder cimport Recorder

cdef inline int64_t clock() noexcept:
    """ns of CLOCK_MONOTONIC, as time.monotonic_ns() has them."""
    cdef timespec now
    clock_gettime(CLOCK_MONOTONIC, &now)
    return <int64_t> now.tv_sec * 1000000000 + now.tv_nsec


cdef class Recorders:
    cdef Recorder response
    cdef Recorder service
    cdef Recorder slip
    cdef bint open_loop


cdef class MessageCountersCore:
    cdef public int64_t begin
    cdef public int64_t end
    cdef public int64_t second_start
    cdef public int64_t second_end
    cdef public int64_t sent
    cdef public int64_t correct
    cdef public int64_t late_replies
    cdef public int64_t bytes_sent
    cdef public int64_t bytes_received
    cdef public int64_t outstanding
    cdef public int64_t area
    cdef public int64_t area_start
    cdef public int64_t quota
    cdef public bint sending
    cdef public bint open_loop
    cdef Recorder response
    cdef Recorder service
    cdef Recorder slip

    cpdef record(self, int64_t due, int64_t sent, int64_t now)
    cdef int record_slip(self, int64_t due, int64_t slip) except -1

    @final
    cdef inline bint admit(self, int64_t due) except -1:
        """May the message due at ``due`` ns be sent? Counts it."""
        if not self.sending:
            return False
        if due >= self.second_end:
            self.roll(due)
        if due >= self.begin:
            if due >= self.end:
                self.finish(due)
                return False
            self.sent += 1
            if self.sent >= self.quota:
                self.finish(due)
        self.outstanding += 1
        return True

    @final
    cdef inline bint admits_batch(self, int64_t due, Py_ssize_t count) noexcept:
        """May ``count`` messages be sent, one per ns from ``due`` on, and only be counted?"""
        return (
            self.sending
            and due >= self.begin
            and due + count <= min(self.second_end, self.end)
            and self.sent + count < self.quota
        )

    @final
    cdef inline int64_t count_sent(self, int64_t due, Py_ssize_t size) except -1:
        """A message of ``size`` bytes is sent; returns the time in ns."""
        cdef int64_t now = clock() if self.open_loop else due
        self.area -= now - self.area_start
        if due >= self.begin:
            self.bytes_sent += size
            if self.open_loop:
                if due >= self.second_start:
                    self.slip.record(now - due)
                else:
                    self.record_slip(due, now - due)
        return now

    @final
    cdef inline int count_reply(
        self, int64_t due, int64_t sent, int64_t now, Py_ssize_t size
    ) except -1:
        """A message got its correct reply, of ``size`` bytes."""
        self.outstanding -= 1
        self.area += now - self.area_start
        if due >= self.begin:
            self.correct += 1
            self.bytes_received += size
            if due < self.second_start:
                self.record(due, sent, now)
            else:
                self.response.record(now - due)
                if self.open_loop:
                    self.service.record(now - sent)
        elif now >= self.begin:
            self.late_replies += 1
        return 0

    @final
    cdef inline void count_batch(self, Py_ssize_t count, Py_ssize_t size) noexcept:
        """``count`` messages of ``size`` bytes, due in the window, were answered correctly, and
        as many were sent. Their times are recorded elsewhere."""
        self.correct += count
        self.bytes_received += count * size
        self.sent += count
        self.bytes_sent += count * size
