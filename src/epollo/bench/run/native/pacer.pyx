"""Sends the messages of an open loop when they are due, without waiting for replies."""

import os

from libc.errno cimport errno
from libc.stdint cimport int64_t

from epollo.bench.run.native.counters cimport clock
from epollo.bench.run.native.pipeline cimport PipelineCore

from epollo.bench.run import metrics
from epollo.bench.run.schedule import Schedule

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
    AT_ONCE = 64  # messages sent before the sockets are polled again

cdef int64_t NEVER = metrics.NEVER, SECOND = metrics.SECOND


cdef class PacerCore:
    """The part of a pacer that messages pass through, and its data."""

    cdef public int64_t due_at
    cdef public int64_t start_at
    cdef public int64_t sent_at
    cdef public Py_ssize_t index
    cdef public list connections
    cdef public object loop, alarm, times

    def ready(self, events):
        """The timer fired: send what is due."""
        cdef PipelineCore connection
        cdef int64_t now = clock(), due
        for _ in range(AT_ONCE):
            if self.due_at > now or not self.connections:
                break
            self.index = (self.index + 1) % len(self.connections)
            connection = self.connections[self.index]
            due, self.sent_at = self.due_at, now
            self.advance()
            connection.send_due(due)
            if connection.watched and connection.retired:
                self.remove(connection)
            now = clock()
        self.set_alarm()

    def advance(self):
        """Take the next due time."""
        cdef double seconds
        time = next(self.times, None)
        if time is None:
            self.due_at = NEVER
        else:
            seconds = time
            self.due_at = self.start_at + <int64_t> (seconds * SECOND + 0.5)

    def set_alarm(self):
        """Set the timer to the next message, if there is a connection to send it on. Setting it
        also clears its readiness, so it need not be read (timerfd_create(2))."""
        cdef itimerspec when
        cdef int64_t due = self.due_at if self.connections else 0
        when.it_interval.tv_sec = when.it_interval.tv_nsec = 0
        when.it_value.tv_sec = 0 if due == NEVER else due // SECOND
        when.it_value.tv_nsec = 0 if due == NEVER else due % SECOND
        if timerfd_settime(self.alarm.fd, TFD_TIMER_ABSTIME, &when, NULL) < 0:
            raise OSError(errno, os.strerror(errno))


class Pacer(PacerCore, Schedule):
    """Wakes the loop for each message, and sends it on the connections in turn."""
