"""The figures of a run, message by message."""

from functools import partial

from libc.stdint cimport int64_t

from epollo.bench.run.native.recorder cimport Recorder

from epollo.bench.run.metrics import NEVER, RunCounters


cdef class Recorders:
    """Response, service and slip of one second, or of the run. In a closed loop service is
    response."""

    def __init__(self, bint open_loop):
        self.response = Recorder()
        self.service = Recorder() if open_loop else self.response
        self.slip = Recorder()
        self.open_loop = open_loop

    def histograms(self):
        """The three of them."""
        response = self.response.histogram()
        service = self.service.histogram() if self.open_loop else response
        return response, service, self.slip.histogram()

    def add(self, Recorders other not None):
        """Count all values of ``other`` too."""
        self.response.add(other.response)
        if self.open_loop:
            self.service.add(other.service)
        self.slip.add(other.slip)

    def clear(self):
        """Forget all values."""
        self.response.clear()
        self.service.clear()
        self.slip.clear()


cdef class MessageCountersCore:
    """All connections of a run count and record in this object."""

    def __init__(self, quota, due, over, *arguments):
        self.open_loop = due is not None
        self.sending = True
        self.begin = self.end = self.second_start = self.second_end = NEVER
        self.area_start = clock()
        super().__init__(quota, due, over, *arguments)

    def recorders(self):
        """A function that makes the recorders of a second."""
        return partial(Recorders, self.open_loop)

    def select(self, Recorders recorders not None):
        """Record the messages of the present second there."""
        self.response, self.service = recorders.response, recorders.service
        self.slip = recorders.slip

    cpdef record(self, int64_t due, int64_t sent, int64_t now):
        """Record how long a message took, or how long its reply was waited for."""
        self.record_many(due, now - due, now - sent, 1)

    def record_many(self, int64_t due, int64_t response, int64_t service, int64_t count):
        """Record ``count`` messages due at ``due`` ns that took so long."""
        cdef Recorders recorders
        if due < self.begin:
            return
        recorders = self.recorders_of(due)
        recorders.response.record_many(response, count)
        if self.open_loop:
            recorders.service.record_many(service, count)

    def count_dropped(self, int64_t count):
        """``count`` messages are no longer outstanding, and had no correct reply."""
        self.outstanding -= count
        self.area += count * (clock() - self.area_start)

    cdef int record_slip(self, int64_t due, int64_t slip) except -1:
        """Of a message that was due in an earlier second."""
        cdef Recorders recorders = self.recorders_of(due)
        recorders.slip.record(slip)
        return 0


class MessageCounters(MessageCountersCore, RunCounters):
    """The figures of a run."""
