"""A Modbus/TCP device, simulated: bits and registers that any Modbus client reads and writes.

    python examples/modbus_device.py 127.0.0.1:5020
    epollo serve examples.modbus_device:Device --framing modbus --max-frame 260

After the MODBUS Application Protocol Specification V1.1b3 ("the specification") and the MODBUS
Messaging on TCP/IP Implementation Guide V1.0b, both of modbus.org.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Callable

import epollo

MBAP = 7  # bytes: transaction, protocol, length, unit
MAX_FRAME = 260  # bytes: MBAP, and a PDU of at most 253 (specification, 4.1)

ILLEGAL_FUNCTION, ILLEGAL_ADDRESS, ILLEGAL_VALUE = 1, 2, 3  # specification, 7


class Refused(Exception):
    """A request that is answered with an exception code."""

    def __init__(self, code: int) -> None:
        self.code = code


class Device:
    """So many bits and registers, numbered from 0, for the device's life.

    A device may have one block for what the specification calls different tables (4.3): here coils
    and discrete inputs are the same bits, holding and input registers the same registers.
    """

    def __init__(self, size: int = 1000) -> None:
        self.bits = [0] * size
        self.registers = [0] * size

    def received(self, message: bytes) -> bytes | None:
        """The reply to a frame, MBAP header and all. What is not Modbus is discarded, as the guide
        says (4.4.2.2)."""
        if len(message) <= MBAP or message[2:4] != b"\x00\x00":
            return None
        function, data = message[MBAP], message[MBAP + 1 :]
        try:
            answer = bytes([function]) + self._execute(function, data)
        except Refused as refused:
            answer = bytes([function | 0x80, refused.code])
        return (
            message[:MBAP] + answer
        )  # transaction and unit are echoed; the framing sets the length

    def _execute(self, function: int, data: bytes) -> bytes:
        if function not in FUNCTIONS:
            raise Refused(ILLEGAL_FUNCTION)
        fields, execute = FUNCTIONS[function]
        if len(data) < fields.size:
            raise Refused(ILLEGAL_VALUE)
        return execute(self, *fields.unpack_from(data), data[fields.size :])

    def _read_bits(self, address: int, count: int, rest: bytes) -> bytes:
        bits = self.bits[_span(self.bits, address, count, most=2000, fault=rest)]
        packed = sum(bit << number for number, bit in enumerate(bits))
        return _counted(packed.to_bytes((count + 7) // 8, "little"))

    def _read_registers(self, address: int, count: int, rest: bytes) -> bytes:
        values = self.registers[_span(self.registers, address, count, most=125, fault=rest)]
        return _counted(struct.pack(f">{count}H", *values))

    def _write_bit(self, address: int, value: int, rest: bytes) -> bytes:
        span = _span(self.bits, address, 1, most=1, fault=rest or value not in (0x0000, 0xFF00))
        self.bits[span] = [value >> 15]
        return struct.pack(">HH", address, value)

    def _write_register(self, address: int, value: int, rest: bytes) -> bytes:
        self.registers[_span(self.registers, address, 1, most=1, fault=rest)] = [value]
        return struct.pack(">HH", address, value)

    def _write_bits(self, address: int, count: int, size: int, data: bytes) -> bytes:
        fault = not size == len(data) == (count + 7) // 8
        span = _span(self.bits, address, count, most=1968, fault=fault)
        packed = int.from_bytes(data, "little")
        self.bits[span] = [packed >> number & 1 for number in range(count)]
        return struct.pack(">HH", address, count)

    def _write_registers(self, address: int, count: int, size: int, data: bytes) -> bytes:
        fault = not size == len(data) == 2 * count
        span = _span(self.registers, address, count, most=123, fault=fault)
        self.registers[span] = struct.unpack(f">{count}H", data)
        return struct.pack(">HH", address, count)


def _span(table: list[int], address: int, count: int, *, most: int, fault: object) -> slice:
    """What a request is about. The specification's diagrams check the values first."""
    if fault or not 1 <= count <= most:
        raise Refused(ILLEGAL_VALUE)
    if address + count > len(table):
        raise Refused(ILLEGAL_ADDRESS)
    return slice(address, address + count)


def _counted(data: bytes) -> bytes:
    return bytes([len(data)]) + data


_ONE = struct.Struct(">HH")  # address, then a quantity or a value
_MANY = struct.Struct(">HHB")  # address, quantity, size in bytes of what follows

FUNCTIONS: dict[int, tuple[struct.Struct, Callable[..., bytes]]] = {
    1: (_ONE, Device._read_bits),  # Read Coils
    2: (_ONE, Device._read_bits),  # Read Discrete Inputs
    3: (_ONE, Device._read_registers),  # Read Holding Registers
    4: (_ONE, Device._read_registers),  # Read Input Registers
    5: (_ONE, Device._write_bit),  # Write Single Coil
    6: (_ONE, Device._write_register),  # Write Single Register
    15: (_MANY, Device._write_bits),  # Write Multiple Coils
    16: (_MANY, Device._write_registers),  # Write Multiple Registers
}

if __name__ == "__main__":
    epollo.serve(Device(), *sys.argv[1:2], framing="modbus", max_frame=MAX_FRAME)
