"""A stock of parts, served to Thrift clients: framed transport, binary protocol; with thriftpy2.

    python examples/thrift.py 127.0.0.1:9090
    epollo serve examples.thrift:Stock --framing thrift --max-frame 64KiB

Each frame is a call of one of the functions of INTERFACE, or its result: thrift-rpc.md and
thrift-binary-protocol.md of Apache Thrift.
"""

from __future__ import annotations

import io
import logging
import struct
import sys

import thriftpy2
from thriftpy2.protocol.binary import TBinaryProtocol
from thriftpy2.thrift import TException, TProcessor, TType
from thriftpy2.transport import TMemoryBuffer

import epollo

INTERFACE = """
exception NoSuchPart { 1: string part }
exception NotEnough { 1: i32 left }

service Stock {
    map<string, i32> all(),
    i32 take(1: string part, 2: i32 number) throws (1: NoSuchPart no_such, 2: NotEnough few),
    oneway void deliver(1: string part, 2: i32 number),
}
"""
log = logging.getLogger(__name__)
interface = thriftpy2.load_fp(io.StringIO(INTERFACE), "stock_thrift")

MOST = (1 << 31) - 1  # what an i32 holds
LARGEST = 64 << 10  # bytes of a frame
DEEPEST = 16  # structures within each other
FIXED = {TType.BOOL: 1, TType.BYTE: 1, TType.I16: 2, TType.I32: 4, TType.I64: 8, TType.DOUBLE: 8}


class Functions:
    """Those of the service. What they raise that is not of the interface ends the connection."""

    def __init__(self) -> None:
        self._left = {"bolt": 100, "nut": 200}

    def all(self) -> dict[str, int]:
        return self._left

    def take(self, part: str, number: int) -> int:
        if part not in self._left:
            raise interface.NoSuchPart(part)
        if not 0 <= number <= self._left[part]:
            raise interface.NotEnough(self._left[part])
        self._left[part] -= number
        return self._left[part]

    def deliver(self, part: str, number: int) -> None:
        if part in self._left and number > 0:
            self._left[part] = min(self._left[part] + number, MOST)


class Stock:
    def __init__(self) -> None:
        self._processor = TProcessor(interface.Stock, Functions())

    def received(self, message: bytes, connection: epollo.Connection) -> bytes | None:
        result = TMemoryBuffer()
        try:
            check(message)
            self._processor.process(
                TBinaryProtocol(TMemoryBuffer(message)), TBinaryProtocol(result)
            )
        except (ValueError, TypeError, IndexError, struct.error, TException) as error:
            log.info("%s sent an invalid call: %r", connection.peername, error)
            connection.close()
        return result.getvalue() or None  # a oneway call has no result


def check(message: bytes) -> None:
    """Raise ValueError, IndexError or struct.error if the message is not one whole call.

    thriftpy2 skips a list of two billion elements of no type, which takes nine bytes, for minutes.
    """
    version, size = struct.unpack_from(">Hxxi", message)
    if version != 0x8001 or size < 0 or end_of(TType.STRUCT, message, 12 + size) != len(message):
        raise ValueError("the message is not a call")


def end_of(kind: int, message: bytes, at: int, depth: int = 0) -> int:
    """Where the value of that type ends that begins ``at``."""
    if depth > DEEPEST or at > len(message):
        raise ValueError("a value is too deep, or does not end")
    if kind in FIXED:
        return at + FIXED[kind]
    if kind == TType.STRING:
        return at + 4 + int(struct.unpack_from(">I", message, at)[0])
    if kind == TType.STRUCT:
        while field := message[at]:
            at = end_of(field, message, at + 3, depth + 1)
        return at + 1
    if kind == TType.MAP:
        *kinds, count = struct.unpack_from(">BBI", message, at)
        at += 6
    elif kind in (TType.LIST, TType.SET):
        *kinds, count = struct.unpack_from(">BI", message, at)
        at += 5
    else:
        raise ValueError(f"there is no type {kind}")
    for _ in range(count):
        for each in kinds:
            at = end_of(each, message, at, depth + 1)
    return at


if __name__ == "__main__":
    epollo.serve(Stock(), *sys.argv[1:2], framing="thrift", max_frame=LARGEST)
