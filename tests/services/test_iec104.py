"""c104, which is lib60870-C, reads and switches the station as a control centre does.

Its client misses a confirmation that comes at once, one in some hundred, of its own server too; so
each command is given until one is confirmed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from epollo import address
from tests.engines import Engine
from tests.interop.support import absent
from tests.services.support import complaints, example
from tests.support import ServerProcess, until

try:
    import c104
except ImportError:
    absent("c104")

pytestmark = pytest.mark.services


@pytest.fixture
def server(engine: Engine) -> Iterator[ServerProcess]:
    with example(engine, "iec104:Station", "--framing", "iec104") as server:
        yield server
        assert complaints(server) == []


class Centre:
    """A control centre with a connection to the station."""

    def __init__(self, port: int) -> None:
        self.client = c104.Client(command_timeout_ms=1000)
        link = self.client.add_connection(ip="127.0.0.1", port=port, init=c104.Init.MUTED)
        assert link is not None
        self.link = link
        station = link.add_station(common_address=1)
        assert station is not None
        self.station = station
        self.breaker = self.point(100, c104.Type.M_SP_NA_1)
        self.voltage = self.point(200, c104.Type.M_ME_NC_1)
        self.switch = self.point(1100, c104.Type.C_SC_NA_1)

    def point(self, address: int, kind: c104.Type) -> c104.Point:
        point = self.station.add_point(io_address=address, type=kind)
        assert point is not None
        return point

    def has_begun(self) -> bool:
        """Is the station asked to begin, and has it confirmed that?"""
        if self.link.state == c104.ConnectionState.OPEN_MUTED:
            self.link.unmute()
        return bool(self.link.state == c104.ConnectionState.OPEN)

    def interrogate(self) -> bool:
        """Has the station told all values?"""
        return bool(self.link.interrogation(common_address=1))

    def close_breaker(self, closed: bool) -> bool:
        """Has the station done it?"""
        self.switch.value = closed
        return bool(self.switch.transmit(cause=c104.Cot.ACTIVATION))


@contextmanager
def centre(server: ServerProcess) -> Iterator[Centre]:
    made = Centre(address.parse(server.address).port)
    made.client.start()
    try:
        until(made.has_begun)
        yield made
    finally:
        made.client.stop()


def test_an_interrogation_brings_all_values(server: ServerProcess) -> None:
    with centre(server) as asking:
        for _ in range(5):  # many more frames than may be without an acknowledgement
            until(asking.interrogate)
        until(lambda: asking.voltage.value == 20.25)
        assert asking.breaker.value is False
        until(lambda: asking.link.clock_sync(common_address=1))


def test_what_one_centre_switches_others_see(server: ServerProcess) -> None:
    with centre(server) as one, centre(server) as other:
        for closed in (True, False, True):
            until(lambda: one.close_breaker(closed))  # noqa: B023 # it is called at once
            until(lambda: one.breaker.value is closed)  # noqa: B023
            until(lambda: other.breaker.value is closed)  # noqa: B023
