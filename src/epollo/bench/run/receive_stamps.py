"""When the bytes that a socket has to read arrived in the kernel (SO_TIMESTAMPING).

The kernel stamps each packet in software as it comes in: over loopback too, but not for Unix
sockets. Of packets that it has joined in the queue of a socket, it keeps the last stamp
(Documentation/networking/timestamping.rst of Linux).
"""

from __future__ import annotations

import socket
import struct
import sys
import time

_OPTION = 37  # SO_TIMESTAMPING, which is also the type of its control message
_RECEIVE_SOFTWARE, _REPORT_SOFTWARE = 1 << 3, 1 << 4
_STAMPS = struct.Struct("@llllll")  # three of struct timespec, of which the first is software's
_SPACE = 256  # bytes of control messages


class ReceiveStamps:
    """Has the kernel stamp packets until `close`.

    It stamps those of all sockets as long as one socket asks for it, here one that is used for
    nothing else. The others only have their stamps reported, and only while they are sampled.
    """

    def __init__(self) -> None:
        self._keeper: socket.socket | None = None
        if sys.platform != "linux":
            return
        try:
            self._keeper = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self._keeper.setsockopt(socket.SOL_SOCKET, _OPTION, _RECEIVE_SOFTWARE)
        except OSError:
            self.close()

    @property
    def available(self) -> bool:
        """Does the kernel know of them?"""
        return self._keeper is not None

    def want(self, sock: socket.socket) -> None:
        """Report the stamps of ``sock`` from now on. Raises OSError."""
        sock.setsockopt(socket.SOL_SOCKET, _OPTION, _REPORT_SOFTWARE)

    def waiting(self, sock: socket.socket) -> int | None:
        """How many ns the first unread byte of ``sock`` has waited; reports no more of its stamps.
        None if there is none, or it has no stamp. Raises OSError for an error of the socket,
        which the kernel then forgets.

        Stamps are of CLOCK_REALTIME, so that clock is read here, and not the monotonic one: if it
        is set in between, the time is wrong, and may be negative.
        """
        try:
            _, messages, _, _ = sock.recvmsg(1, _SPACE, socket.MSG_PEEK | socket.MSG_DONTWAIT)
            now = time.clock_gettime_ns(time.CLOCK_REALTIME)
        except BlockingIOError:
            messages = []
        sock.setsockopt(socket.SOL_SOCKET, _OPTION, 0)
        for level, kind, data in messages:
            if (level, kind) == (socket.SOL_SOCKET, _OPTION) and len(data) == _STAMPS.size:
                seconds, nanoseconds, *_ = _STAMPS.unpack(data)
                return now - (seconds * 10**9 + nanoseconds) if seconds else None
        return None

    def close(self) -> None:
        if self._keeper is not None:
            self._keeper.close()
        self._keeper = None
