"""What wakes a loop that waits: another thread, a signal handler, a timer that is a descriptor."""

from __future__ import annotations

import ctypes
import os
import socket
import time
from collections.abc import Callable
from ctypes import POINTER, Structure, byref, c_int, c_long

from epollo.errors import EngineMissing

_CLOEXEC_NONBLOCK = os.O_CLOEXEC | os.O_NONBLOCK  # TFD_CLOEXEC, TFD_NONBLOCK: timerfd_create(2)
_ABSOLUTE = 1  # TFD_TIMER_ABSTIME
_LATEST = 1 << 62  # nanoseconds; a timer that is set for later is set for this time, in 146 years


class _Timespec(Structure):
    _fields_ = (("tv_sec", c_long), ("tv_nsec", c_long))


class _Itimerspec(Structure):
    _fields_ = (("it_interval", _Timespec), ("it_value", _Timespec))


class Alarm:
    """timerfd_create(2), which Python has from 3.13 on."""

    __slots__ = ("_next_time", "_set_time", "_when", "fd")

    def __init__(self, next_time: Callable[[], float | None] = lambda: None) -> None:
        self._next_time = next_time  # to be readable at, once it was read
        libc = ctypes.CDLL(None, use_errno=True)
        if not hasattr(libc, "timerfd_settime"):
            raise EngineMissing(
                "a loop is one descriptor on Linux only: it needs timerfd_create(2)"
            )
        self._set_time = libc.timerfd_settime
        self._set_time.argtypes = (c_int, c_int, POINTER(_Itimerspec), POINTER(_Itimerspec))
        self.fd: int = libc.timerfd_create(time.CLOCK_MONOTONIC, _CLOEXEC_NONBLOCK)
        if self.fd < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create")
        self._when: float | None = None

    def set(self, when: float | None) -> None:
        """Be readable from ``when``, of time.monotonic(), on; None: not at all."""
        if when == self._when:
            return
        self._when = when
        # A time of zero disarms it, so the past is the first nanosecond.
        nanoseconds = 0 if when is None else max(1, int(min(when * 1e9, _LATEST)))
        value = _Timespec(*divmod(nanoseconds, 10**9))
        self._set_time(self.fd, _ABSOLUTE, byref(_Itimerspec(it_value=value)), None)

    def ready(self, events: int) -> None:
        """The time has come: the turn that saw it makes the calls that are due, if any."""
        self._when = None
        try:
            os.read(self.fd, 8)
        except BlockingIOError:
            pass
        self.set(self._next_time())

    def descriptors(self) -> tuple[int, ...]:
        return (self.fd,)

    def renew(self) -> None:
        """In a forked process: a timer of its own, with the same descriptor."""
        fresh = Alarm()
        os.dup2(fresh.fd, self.fd, inheritable=False)
        fresh.abort()
        self._when = None
        self.set(self._next_time())

    def abort(self) -> None:
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)


class Wakeup:
    """A socket pair: a byte written at one end makes the other ready in the loop's poller."""

    __slots__ = ("receiver", "sender")

    receiver: socket.socket
    sender: socket.socket

    def __init__(self) -> None:
        self.receiver, self.sender = socket.socketpair()
        self.receiver.setblocking(False)
        self.sender.setblocking(False)

    def wake(self) -> None:
        try:
            self.sender.send(b"\0")
        except OSError:  # full of unread bytes, so awake already; or closed
            pass

    def ready(self, events: int) -> None:
        try:
            self.receiver.recv(4096)
        except BlockingIOError:
            pass

    def descriptors(self) -> tuple[int, ...]:
        return (self.receiver.fileno(), self.sender.fileno())

    def renew(self) -> None:
        """In a forked process: a pair of its own, with the same descriptors."""
        fresh = Wakeup()
        for new, old in zip(fresh.descriptors(), self.descriptors(), strict=True):
            os.dup2(new, old, inheritable=False)
        fresh.abort()
        self.wake()  # for what the old pair may have been told

    def abort(self) -> None:
        self.receiver.close()
        self.sender.close()
