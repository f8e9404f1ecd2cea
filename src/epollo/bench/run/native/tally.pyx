"""The figures of a run, message by message."""

from libc.stdint cimport int64_t

from epollo.bench.run.native.recorder cimport Recorder

from epollo.bench.run import metrics as ledger

NEVER = ledger.NEVER


cdef class TallyCore:
    """What all exchanges of a run count and record in."""

    def __init__(self, quota, due, over):
        self.open_loop = due is not None
        self.sending = True
        self.begin = self.end = self.second_start = self.second_end = NEVER
        self.response, self.service, self.slip = Recorder(), Recorder(), Recorder()
        super().__init__(quota, due, over)

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
