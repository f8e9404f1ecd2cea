"""Sends the messages of an open loop when they are due, whoever has answered or not."""

import os

from libc.errno cimport errno
from libc.stdint cimport int64_t

from epollo.bench.run.native.exchange cimport ExchangeCore
from epollo.bench.run.native.tally cimport clock

from epollo.bench.run import metrics as ledger
from epollo.bench.run.schedule import Pacing

cdef extern from "<sys/timerfd.h>" nogil:
    int TFD_TIMER_ABSTIME
    struct timespec:
        long tv_sec
        long tv_nsec
    struct itimerspec:
        timespec it_interval
        timespec it_value
    int timerfd_settime(int fd, int flags, const itimerspec *new, itimerspec *old)

cdef enum:
    AT_ONCE = 64  # messages sent before the sockets are looked at again

cdef int64_t NEVER = ledger.NEVER, SECOND = ledger.SECOND


cdef class PacerCore:
    """The part of a pacer that messages pass through, and its data."""

    cdef public int64_t due_at
    cdef public int64_t start_at
    cdef public int64_t sent_at
    cdef public Py_ssize_t buffers
    cdef public list exchanges
    cdef public object loop, alarm, times

    def ready(self, events):
        """The time has come."""
        cdef ExchangeCore exchange
        cdef int64_t now = clock(), due
        for _ in range(AT_ONCE):
            if self.due_at > now or not self.exchanges:
                break
            self.buffers = (self.buffers + 1) % len(self.exchanges)
            exchange = self.exchanges[self.buffers]
            due, self.sent_at = self.due_at, now
            self.plan_next()
            exchange.send_due(due)
            if exchange.watched and exchange.retired:
                self.remove(exchange)
            now = clock()
        self.set_alarm()

    def plan_next(self):
        """What is due next."""
        cdef double seconds
        planned = next(self.times, None)
        if planned is None:
            self.due_at = NEVER
        else:
            seconds = planned
            self.due_at = self.start_at + <int64_t> (seconds * SECOND + 0.5)

    def set_alarm(self):
        """For what is due next, if there is anybody to send it to. To set it anew takes back that
        it has fired, so that it need not be read (timerfd_create(2))."""
        cdef itimerspec when
        cdef int64_t due = self.due_at if self.exchanges else 0
        when.it_interval.tv_sec = when.it_interval.tv_nsec = 0
        when.it_value.tv_sec = 0 if due == NEVER else due // SECOND
        when.it_value.tv_nsec = 0 if due == NEVER else due % SECOND
        if timerfd_settime(self.alarm.fd, TFD_TIMER_ABSTIME, &when, NULL) < 0:
            raise OSError(errno, os.strerror(errno))


class Pacer(PacerCore, Pacing):
    """Wakes the loop for each message, and sends it on the connections in turn."""
