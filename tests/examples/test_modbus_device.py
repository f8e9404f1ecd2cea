"""The Modbus device, against the specification's own examples and against pymodbus."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pymodbus.client import ModbusTcpClient

from epollo import address
from examples.modbus_device import Device
from tests.examples.support import both_ways
from tests.support import DEADLINE, Peer, ServerProcess

every_way = both_ways("modbus_device", "Device", "--framing", "modbus", "--max-frame", "260")

HEADER = bytes.fromhex("1501 0000")  # transaction and protocol
UNIT = b"\x11"


def adu(pdu: str) -> bytes:
    """A frame of the guide: MBAP header and PDU."""
    body = UNIT + bytes.fromhex(pdu)
    return HEADER + len(body).to_bytes(2, "big") + body


# The examples of sections 6.1 to 6.12 of the specification. What those that read are given to read
# is written first, by a request whose answer is its own first five bytes.
EXAMPLES = {
    "read-coils": ("0F 0013 0013 03 CD6B05", "01 0013 0013", "01 03 CD6B05"),
    "read-discrete-inputs": ("0F 00C4 0016 03 ACDB35", "02 00C4 0016", "02 03 ACDB35"),
    "read-holding-registers": (
        "10 006B 0003 06 022B 0000 0064",
        "03 006B 0003",
        "03 06 022B 0000 0064",
    ),
    "read-input-registers": ("10 0008 0001 02 000A", "04 0008 0001", "04 02 000A"),
    "write-single-coil": ("05 00AC 0000", "05 00AC FF00", "05 00AC FF00"),
    "write-single-register": ("06 0001 0000", "06 0001 0003", "06 0001 0003"),
    "write-multiple-coils": ("05 0013 0000", "0F 0013 000A 02 CD01", "0F 0013 000A"),
    "write-multiple-registers": ("06 0001 0000", "10 0001 0002 04 000A 0102", "10 0001 0002"),
}


@every_way
def test_the_examples_of_the_specification(server: ServerProcess) -> None:
    with Peer(server.address) as peer:
        for before, request, reply in EXAMPLES.values():
            done = bytes.fromhex(before)[:5].hex()
            for sent, expected in ((before, done), (request, reply)):
                peer.send(adu(sent))
                assert peer.receive(len(adu(expected))) == adu(expected)


ILLEGAL_FUNCTION, ILLEGAL_ADDRESS, ILLEGAL_VALUE = "01", "02", "03"

REFUSALS = [
    ("2B 0E 01 00", ILLEGAL_FUNCTION),
    ("00", ILLEGAL_FUNCTION),
    ("81", ILLEGAL_FUNCTION),
    ("01 04A1 0001", ILLEGAL_ADDRESS),  # the example of section 7
    ("03 03E4 0004", None),  # the last four registers of a thousand
    ("03 03E4 0005", ILLEGAL_ADDRESS),
    ("05 03E8 FF00", ILLEGAL_ADDRESS),
    ("06 FFFF 0001", ILLEGAL_ADDRESS),
    ("0F 03E7 0002 01 03", ILLEGAL_ADDRESS),
    ("10 03E7 0002 04 0001 0002", ILLEGAL_ADDRESS),
    ("01 0000 0000", ILLEGAL_VALUE),
    ("01 0000 07D0", ILLEGAL_ADDRESS),  # 2000 can be asked for, but there are not so many
    ("01 0000 07D1", ILLEGAL_VALUE),
    ("03 0000 007D", None),
    ("03 0000 007E", ILLEGAL_VALUE),
    ("03 FFFF 007E", ILLEGAL_VALUE),  # which is checked first
    ("04 0000 0000", ILLEGAL_VALUE),
    ("05 0000 0001", ILLEGAL_VALUE),
    ("0F 0000 0008 02 FF00", ILLEGAL_VALUE),  # a byte too many for eight bits
    ("0F 0000 0009 02 FF", ILLEGAL_VALUE),  # a byte fewer than it says
    ("0F 0000 0000 00", ILLEGAL_VALUE),
    ("0F 0000 07B1 F7" + "00" * 247, ILLEGAL_VALUE),
    ("10 0000 007C F8" + "00" * 248, ILLEGAL_VALUE),
    ("10 0000 0001 03 000102", ILLEGAL_VALUE),
    ("03 0000", ILLEGAL_VALUE),
    ("03 0000 0001 00", ILLEGAL_VALUE),
    ("06 0000 0001 00", ILLEGAL_VALUE),
]


@pytest.mark.parametrize(("request_", "code"), REFUSALS)
def test_a_request_that_cannot_be_is_answered_with_the_code_for_it(
    request_: str, code: str | None
) -> None:
    device = Device(1000)
    request_ = request_.replace(" ", "")
    reply = device.received(adu(request_))
    assert reply is not None
    if code is None:
        assert reply[7] == int(request_[:2], 16)
    else:
        assert reply[7:] == bytes([int(request_[:2], 16) | 0x80]) + bytes.fromhex(code)
        assert not any(device.bits + device.registers)


def test_what_is_not_modbus_is_discarded() -> None:
    device = Device()
    assert device.received(bytes.fromhex("0001 0001 0006 11 01 0000 0001")) is None
    assert device.received(bytes.fromhex("0001 0000 0001 11")) is None
    assert device.received(bytes.fromhex("0001 0000 0000")) is None


@pytest.fixture
def client(server: ServerProcess) -> Iterator[ModbusTcpClient]:
    where = address.parse(server.address)
    client = ModbusTcpClient(where.host, port=where.port, timeout=DEADLINE, retries=0)
    assert client.connect()
    yield client
    client.close()


@every_way
def test_pymodbus_reads_what_it_has_written(client: ModbusTcpClient) -> None:
    bits = [True, False, False, True, True] * 11
    values = [0, 1, 0x1234, 0xFFFF] * 30
    assert not client.write_coils(3, bits, device_id=9).isError()
    assert not client.write_registers(100, values, device_id=9).isError()
    assert client.read_coils(3, count=55, device_id=9).bits[:55] == bits
    assert client.read_discrete_inputs(3, count=55, device_id=9).bits[:55] == bits
    assert client.read_holding_registers(100, count=120, device_id=9).registers == values
    assert client.read_input_registers(100, count=120, device_id=9).registers == values
    assert not client.write_coil(3, False).isError()
    assert not client.write_register(100, 7).isError()
    assert client.read_coils(3, count=4).bits[:4] == [False, False, False, True]
    assert client.read_holding_registers(100, count=2).registers == [7, 1]


@every_way
def test_pymodbus_is_told_what_it_cannot_have(client: ModbusTcpClient) -> None:
    assert client.read_holding_registers(990, count=11).exception_code == 2
    assert client.report_device_id().exception_code == 1
    assert client.read_holding_registers(990, count=10).registers == [0] * 10
