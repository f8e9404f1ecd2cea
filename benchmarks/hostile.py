"""What the costliest input of a few bytes costs the server: CPU time for each, one line a case.

python -m benchmarks.hostile
"""

import statistics
import struct
import time
from collections.abc import Callable
from functools import partial

from epollo.errors import ProxyError
from epollo.filters.proxy import HEAD, V2, Proxy, crc32c

ROUNDS = 15
LARGEST = 65535  # bytes behind the head of a PROXY header, whose length field has 16 bits
ADDRESSES = bytes([192, 0, 2, 7, 192, 0, 2, 1, 0x16, 0x2E, 0, 80])
CRC32C, NOOP = 3, 4  # types of a TLV


def proxy_header(fields: bytes) -> bytes:
    """Return a header of version 2 for TCP over IPv4 with these TLVs."""
    body = ADDRESSES + fields
    return HEAD.pack(V2, 0x21, 0x11, len(body)) + body


def tlv(kind: int, value: bytes = b"") -> bytes:
    """Return one TLV."""
    return struct.pack("!BH", kind, len(value)) + value


def checked(fields: bytes) -> bytes:
    """Return a header with these TLVs and a checksum that is right."""
    unchecked = proxy_header(fields + tlv(CRC32C, bytes(4)))
    return unchecked[:-4] + struct.pack("!I", crc32c(unchecked))


def parse(header: bytes, piece: int) -> None:
    """Parse ``header``, which comes in pieces of so many bytes."""
    proxy = Proxy(1, True)
    try:
        for start in range(0, len(header), piece):
            proxy.received(header[start : start + piece])
    except ProxyError:
        pass


def milliseconds(call: Callable[[], object]) -> list[float]:
    """Return the CPU time of each of some calls, sorted."""
    times = []
    for _ in range(ROUNDS):
        start = time.thread_time()
        call()
        times.append((time.thread_time() - start) * 1000)
    return sorted(times)


def cases() -> dict[str, tuple[bytes, int]]:
    """Return each case: a header, and the size of the pieces in which it comes."""
    room = LARGEST - len(ADDRESSES) - 7  # a checksum takes 7 bytes
    one = checked(tlv(NOOP, bytes(room - 3)))
    many = checked(tlv(NOOP) * (room // 3))
    wrong = proxy_header(tlv(CRC32C, b"abcd") * ((room + 7) // 7))
    empty = proxy_header(tlv(CRC32C) * ((room + 7) // 3))
    return {
        "one TLV, and a checksum": (one, LARGEST),
        "empty TLVs, and a checksum": (many, LARGEST),
        "empty TLVs, and a checksum, in pieces of 100 bytes": (many, 100),
        "checksums": (wrong, LARGEST),
        "empty checksums": (empty, LARGEST),
    }


def main() -> None:
    """Print the figures."""
    for name, (header, piece) in cases().items():
        times = milliseconds(partial(parse, header, piece))
        median = statistics.median(times)
        spread = f"{times[0]:.1f} to {times[-1]:.1f}"
        print(f"PROXY header of {len(header)} bytes, {name}: {median:.1f} ms ({spread})")


if __name__ == "__main__":
    main()
