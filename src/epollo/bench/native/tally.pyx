"""The figures of a run, message by message."""

from libc.stdint cimport int64_t
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec

from epollo.bench.native.recorder cimport Recorder

from epollo.bench import ledger

NEVER = ledger.NEVER


cdef int64_t clock() noexcept:
    """ns of CLOCK_MONOTONIC, as time.monotonic_ns() has them."""
    cdef timespec now
    clock_gettime(CLOCK_MONOTONIC, &now)
    return <int64_t> now.tv_sec * 1000000000 + now.tv_nsec


cdef class TallyCore:
    """What all exchanges of a run count and record in."""

    def __init__(self, quota, due, over):
        self.open_loop = due is not None
        self.sending = True
        self.begin = self.end = self.second_start = self.second_end = NEVER
        self.response, self.service, self.slip = Recorder(), Recorder(), Recorder()
        super().__init__(quota, due, over)

    cdef bint admit(self, int64_t due) except -1:
        """May the message that is due at that time be sent? Counts it."""
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

    cdef int64_t left(self, int64_t due, Py_ssize_t size) except -1:
        """A message of ``size`` bytes is sent; returns when, in ns."""
        cdef int64_t now = clock() if self.open_loop else due
        if due >= self.begin:
            self.bytes_sent += size
            if self.open_loop:
                if due >= self.second_start:
                    self.slip.record(now - due)
                else:
                    self.histograms_of(due)[2].record(now - due)
        return now

    cdef int answered(self, int64_t due, int64_t sent, int64_t now, Py_ssize_t size) except -1:
        """A message was answered rightly, with ``size`` bytes."""
        self.outstanding -= 1
        if due >= self.begin:
            self.right += 1
            self.bytes_received += size
            if due < self.second_start:
                self.record(due, sent, now)
            else:
                self.response.record(now - due)
                if self.open_loop:
                    self.service.record(now - sent)
        return 0

    cpdef record(self, int64_t due, int64_t sent, int64_t now):
        """How long a message took that was answered, or how long it was waited for."""
        if due < self.begin:
            return
        if due >= self.second_start:
            response, service = self.response, self.service
            (<Recorder> response).record(now - due)
            if self.open_loop:
                (<Recorder> service).record(now - sent)
        else:
            response, service, _ = self.histograms_of(due)
            response.record(now - due)
            if self.open_loop:
                service.record(now - sent)

    def take(self):
        """Response, service and slip since the last time."""
        response = self.response.take()
        service = self.service.take() if self.open_loop else response
        return response, service, self.slip.take()


class Tally(TallyCore, ledger.Ledger):
    """The figures of a run."""
