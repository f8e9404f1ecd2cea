"""Messages to systemd about this service: sd_notify(3), for units of Type=notify and notify-reload.

A message is a datagram of lines to the Unix socket that $NOTIFY_SOCKET names. That is little
enough to need no library: sdnotify on PyPI does no more, and systemd-python is bindings in C.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Mapping

_SECONDS = 1.0  # to wait at most while systemd's queue is full

_log = logging.getLogger("epollo.server")


class Notifier:
    """Tells systemd, if it has started this process, what that does. Without systemd, it does
    nothing."""

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        path = environ.get("NOTIFY_SOCKET", "")
        self._address = f"\0{path[1:]}" if path.startswith("@") else path  # abstract: unix(7)
        if path and path[0] not in "/@":
            _log.warning("NOTIFY_SOCKET is %r, not a Unix socket: systemd is told nothing", path)
            self._address = ""
        self.watchdog_period: float = _watchdog_period(environ) if self._address else 0.0
        """Seconds between two calls of `alive`; 0 if there is no watchdog."""

    def ready(self, status: str) -> None:
        """It serves, for the first time or again; ``status`` is shown by systemctl."""
        self._send("READY=1", _status(status))

    def reloading(self) -> None:
        """It has begun to reload, and will say `ready` at the end, however it ends."""
        microseconds = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._send("RELOADING=1", f"MONOTONIC_USEC={microseconds}", "STATUS=reloading")

    def stopping(self) -> None:
        """It has begun to stop."""
        self._send("STOPPING=1", "STATUS=stopping")

    def hand_over(self, pid: int) -> None:
        """From now on the process ``pid`` is this service, and sends these messages."""
        self._send(f"MAINPID={pid}")
        self._address = ""

    def alive(self) -> None:
        """For the watchdog. Never waits: another one follows."""
        self._send("WATCHDOG=1", seconds=0.0)

    def _send(self, *lines: str, seconds: float = _SECONDS) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
                sock.settimeout(seconds)
                sock.sendto("\n".join(lines).encode(), self._address)
        except OSError as error:
            _log.warning("systemd was not told %s: %s", lines[0], error.strerror or error)


def _status(text: str) -> str:
    return f"STATUS={' '.join(text.split())}"


def _watchdog_period(environ: Mapping[str, str]) -> float:
    """Half of WATCHDOG_USEC, as sd_watchdog_enabled(3) recommends; 0 if that is for another
    process, or not there."""
    text, pid = environ.get("WATCHDOG_USEC", ""), environ.get("WATCHDOG_PID", "")
    if not text or (pid and pid != str(os.getpid())):
        return 0.0
    if not (text.isascii() and text.isdecimal()):
        _log.warning("WATCHDOG_USEC is %r, not a number of microseconds: no watchdog", text)
        return 0.0
    return int(text) / 2e6
