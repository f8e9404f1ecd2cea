"""The figures of a run, message by message."""

from libc.stdint cimport int64_t

from epollo.bench.run.native.recorder cimport Recorder

from epollo.bench.run.metrics import NEVER, RunCounters


cdef class MessageCountersCore:
    """All connections of a run count and record in this object."""

    def __init__(self, quota, due, over):
        self.open_loop = due is not None
        self.sending = True
        self.begin = self.end = self.second_start = self.second_end = NEVER
        self.response, self.service, self.slip = Recorder(), Recorder(), Recorder()
        super().__init__(quota, due, over)

    cpdef record(self, int64_t due, int64_t sent, int64_t now):
        """Record how long a message took, or how long its reply was waited for."""
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

    def interval_histograms(self):
        """Response, service and slip since the last call."""
        response = self.response.interval_histogram()
        service = self.service.interval_histogram() if self.open_loop else response
        return response, service, self.slip.interval_histogram()


class MessageCounters(MessageCountersCore, RunCounters):
    """The figures of a run."""
