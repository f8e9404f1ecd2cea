"""The kernel's TCP settings that affect an accept queue, and its counters."""

from __future__ import annotations

from pathlib import Path

SETTINGS = {
    "somaxconn": "net/core/somaxconn",  # the longest accept queue (listen(2))
    "tcp_syncookies": "net/ipv4/tcp_syncookies",  # 1: answers SYNs past a full queue (tcp(7))
    "tcp_abort_on_overflow": "net/ipv4/tcp_abort_on_overflow",  # 1: resets if the queue is full
    "tcp_max_syn_backlog": "net/ipv4/tcp_max_syn_backlog",
    "tcp_syn_retries": "net/ipv4/tcp_syn_retries",
    "tcp_syn_linear_timeouts": "net/ipv4/tcp_syn_linear_timeouts",  # 1 s each, then doubling
}

COUNTERS = (
    "TCPSynRetrans",  # SYNs and SYN-ACKs sent again
    "ListenOverflows",  # the accept queue was full
    "ListenDrops",  # a SYN or the last ACK of a handshake was dropped, for any reason
    "SyncookiesSent",
    "SyncookiesRecv",
    "SyncookiesFailed",
    "TCPTimeouts",
    "RetransSegs",  # segments sent again, SYNs included
)


def tcp_settings() -> dict[str, int]:
    """The SETTINGS that this kernel has, by name."""
    found = {}
    for name, path in SETTINGS.items():
        try:
            found[name] = int((Path("/proc/sys") / path).read_text())
        except (OSError, ValueError):
            pass
    return found


def tcp_counters() -> dict[str, int]:
    """The COUNTERS that this kernel has: since boot, of the whole network namespace."""
    found: dict[str, int] = {}
    for path in ("/proc/net/netstat", "/proc/net/snmp"):
        try:
            found |= parse_counters(Path(path).read_text())
        except OSError:  # not Linux
            pass
    return {name: found[name] for name in COUNTERS if name in found}


def parse_counters(text: str) -> dict[str, int]:
    """The counters in pairs of lines, ``TcpExt: name name`` above ``TcpExt: 1 2`` (proc(5))."""
    lines = [line.split() for line in text.splitlines()]
    found: dict[str, int] = {}
    for names, values in zip(lines[::2], lines[1::2], strict=True):
        if names[0] in ("TcpExt:", "Tcp:"):
            found |= zip(names[1:], map(int, values[1:]), strict=True)
    return found


def difference(before: dict[str, int], after: dict[str, int]) -> dict[str, int]:
    """The growth of each counter."""
    return {name: after[name] - count for name, count in before.items()}
