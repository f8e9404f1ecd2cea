"""What the kernel remembers of a TCP connection (TCP_INFO, tcp(7)).

The offset comes from struct tcp_info in linux/tcp.h, to which the kernel only appends.
"""

from __future__ import annotations

import socket
import sys

_LAST_DATA_RECV = 52  # offset of tcpi_last_data_recv: milliseconds, 32 bits


def seconds_since_data(sock: socket.socket) -> float | None:
    """Seconds since bytes came, read or not, or since the connection was made; None if the kernel
    does not know, as for Unix sockets."""
    if sys.platform != "linux" or sock.family not in (socket.AF_INET, socket.AF_INET6):
        return None
    try:
        info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _LAST_DATA_RECV + 4)
    except OSError:  # closed
        return None
    if len(info) < _LAST_DATA_RECV + 4:
        return None
    return int.from_bytes(info[_LAST_DATA_RECV:], sys.byteorder) / 1000
