"""One connection of a run without replies, message by message."""

from cpython.bytes cimport PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint8_t

from epollo.bench.run.native.pipeline cimport PipelineCore

from epollo.bench.load.payload import Fault
from epollo.bench.run.one_way_connection import OneWayConnection


cdef class OneWayPipelineCore(PipelineCore):
    """The part of a one-way pipeline that messages pass through.

    The ring of `PipelineCore` stays empty: ``first`` is always ``number``.
    """

    def __init__(self, context, listener, serial, slot, ramp_remaining):
        super().__init__(context, listener, serial, slot, ramp_remaining)
        self.in_place = False

    cdef bytes on_message(self, object connection, const uint8_t *data, Py_ssize_t size):
        return self.received(None, connection)

    def received(self, reply, connection):
        """Count a reply, which nobody expected, or a part of the greeting."""
        if self.greeting_due:
            self.count_greeting()
        else:
            self.counters.count(Fault.EXTRA)
        return None

    cdef int send_due(self, int64_t due) except -1:
        self.send(due)
        return 0

    def next_message(self, due):
        """The message due at ``due`` ns, to be sent now; None if no more may be sent."""
        cdef bytes message
        cdef int64_t now
        if not self.counters.admit(due):
            return None
        message = self.messages.make(self.serial, self.number, due)
        self.number += 1
        self.first = self.number
        now = self.counters.count_sent(due, PyBytes_GET_SIZE(message))
        self.counters.count_reply(due, now, now, 0)
        if <int64_t> due >= self.counters.begin:
            self.answered += 1
        return message


class OneWayPipeline(OneWayConnection, OneWayPipelineCore):
    """Sends messages, and expects no replies."""

    __slots__ = ()
