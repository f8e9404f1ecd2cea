"""What the kernel remembers of a TCP connection (TCP_INFO, tcp(7)).

The offset comes from struct tcp_info in linux/tcp.h, to which the kernel only appends.
"""

from __future__ import annotations

import socket
import sys

_LAST_DATA_RECV = 52  # offset of tcpi_last_data_recv: milliseconds, 32 bits


def seconds_since_data(fd: int) -> float | None:
    """Seconds since bytes came, read or not, or since the connection was made; None if the kernel
    does not know, as for Unix sockets. In the thread that closes the descriptor."""
    if sys.platform != "linux" or fd < 0:
        return None
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 0, fd)  # of whatever family it is
    try:
        info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _LAST_DATA_RECV + 4)
    except OSError:  # closed, or not TCP
        return None
    finally:
        sock.detach()
    if len(info) < _LAST_DATA_RECV + 4:
        return None
    return int.from_bytes(info[_LAST_DATA_RECV:], sys.byteorder) / 1000
