"""A Modbus server by pymodbus, in a process of its own; its first line is its port.

python -m tests.bench.modbus_peer
"""

from __future__ import annotations

import asyncio

from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

REGISTERS = 100


async def main() -> None:
    """Serve until it is killed: each register has its number in it."""
    data = [SimData(0, values=list(range(REGISTERS)), datatype=DataType.REGISTERS)]
    server = ModbusTcpServer(SimDevice(0, simdata=data), address=("127.0.0.1", 0))
    assert await server.listen()
    print(server.transport.sockets[0].getsockname()[1], flush=True)  # type: ignore[attr-defined]
    await server.serving


if __name__ == "__main__":
    asyncio.run(main())
