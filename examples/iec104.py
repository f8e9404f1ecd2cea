"""A substation that IEC 60870-5-104 control centres read and switch: two values and a breaker.

    python examples/iec104.py 127.0.0.1:2404
    epollo serve examples.iec104:Station --framing iec104

IEC 60870-5-104 for the link, 60870-5-101 for what is said on it.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Iterator

import epollo

START, STOP, TEST = 0x07, 0x13, 0x43  # functions that are confirmed, each by the code below
CONFIRMED = {START: 0x0B, STOP: 0x23, TEST: 0x83}
SINGLE_POINT, FLOAT, SINGLE_COMMAND, INTERROGATION, CLOCK = 1, 13, 45, 100, 103  # types
SPONTANEOUS, ACTIVATION, CONFIRMATION, RETURNED, TERMINATION, INTERROGATED = 3, 6, 7, 11, 10, 20
UNKNOWN_TYPE, UNKNOWN_CAUSE, UNKNOWN_STATION, UNKNOWN_OBJECT = 44, 45, 46, 47  # causes, too
NEGATIVE = 0x40  # joined to a cause

STATION, EVERY_STATION = 1, 0xFFFF  # common addresses
BREAKER, SWITCH = 100, 1100  # addresses of objects: what it is, and to change it
VOLTAGES = {200: 20.25, 201: 20.5}  # kV
WINDOW = 12  # k: how many may be sent that the centre has not acknowledged
NUMBERS = 1 << 15  # then they begin again

TYPE = struct.Struct("<BBHH")  # type, number of objects, cause, station


class Link:
    """One connection to a control centre: the numbers of what is sent and received."""

    def __init__(self) -> None:
        self.started = False
        self.sent = self.acknowledged = self.received = 0

    def acknowledge(self, number: int) -> None:
        """The centre has all that was sent before that number."""
        if (self.sent - number) % NUMBERS > (self.sent - self.acknowledged) % NUMBERS:
            raise ValueError("what is acknowledged was not sent")
        self.acknowledged = number

    def frame(self, content: bytes) -> bytes:
        """The next one with that content."""
        if (self.sent - self.acknowledged) % NUMBERS == WINDOW:
            raise ValueError("the centre acknowledges nothing")
        head = struct.pack("<BBHH", 0x68, 0, self.sent << 1, self.received << 1)
        self.sent = (self.sent + 1) % NUMBERS
        return head + content  # the framing writes the length


class Station:
    def __init__(self) -> None:
        self._closed = False  # the breaker
        self._centres: set[epollo.Connection[Link]] = set()

    def connected(self, connection: epollo.Connection[Link]) -> None:
        connection.state = Link()
        self._centres.add(connection)

    def disconnected(self, connection: epollo.Connection[Link], reason: epollo.CloseReason) -> None:
        self._centres.discard(connection)

    def received(
        self, message: bytes, connection: epollo.Connection[Link]
    ) -> list[bytes] | bytes | None:
        try:
            start, control, acknowledged = struct.unpack_from("<BxHH", message)
            if start != 0x68:
                raise ValueError("a frame begins with 0x68")
            if control & 3 == 3:
                return self._function(control, connection.state)
            connection.state.acknowledge(acknowledged >> 1)
            return None if control & 1 else self._told(control >> 1, message[6:], connection)
        except (ValueError, struct.error):
            connection.close()
            return None

    def _function(self, code: int, link: Link) -> bytes | None:
        if code in (START, STOP):
            link.started = code == START
        return bytes([0x68, 4, CONFIRMED[code], 0, 0, 0]) if code in CONFIRMED else None

    def _told(
        self, number: int, content: bytes, connection: epollo.Connection[Link]
    ) -> list[bytes]:
        link = connection.state
        if not link.started or number != link.received:
            raise ValueError("a frame before the start, or one is missing")
        link.received = (number + 1) % NUMBERS
        return [link.frame(each) for each in self._answers(content, connection)]

    def _answers(self, content: bytes, connection: epollo.Connection[Link]) -> Iterator[bytes]:
        """A command is confirmed, then done, then terminated; or it is refused."""
        kind, _, cause, station = TYPE.unpack_from(content)
        address, value = int.from_bytes(content[6:9], "little"), content[9:]

        def mirrored(cause: int, refused: bool = False) -> bytes:
            origin = content[3] << 8  # of the centre, which gets it back
            head = TYPE.pack(kind, 1, cause | origin | (NEGATIVE if refused else 0), station)
            return head + content[6:]

        if kind not in (SINGLE_COMMAND, INTERROGATION, CLOCK):
            yield mirrored(UNKNOWN_TYPE, refused=True)
        elif cause & 0x3F != ACTIVATION:
            yield mirrored(UNKNOWN_CAUSE, refused=True)
        elif station not in (STATION, EVERY_STATION):
            yield mirrored(UNKNOWN_STATION, refused=True)
        elif kind == CLOCK:  # taken, and not used
            yield mirrored(CONFIRMATION)
        elif kind == INTERROGATION:
            yield mirrored(CONFIRMATION)
            yield self._breaker(INTERROGATED)
            values = b"".join(
                address.to_bytes(3, "little") + struct.pack("<fB", kilovolts, 0)
                for address, kilovolts in VOLTAGES.items()
            )
            yield TYPE.pack(FLOAT, len(VOLTAGES), INTERROGATED, STATION) + values
            yield mirrored(TERMINATION)
        elif address != SWITCH or not value:
            yield mirrored(UNKNOWN_OBJECT, refused=True)
        elif value[0] & 0x80:  # selected, to be executed by the next one
            yield mirrored(CONFIRMATION)
        else:
            yield mirrored(CONFIRMATION)
            self._closed = bool(value[0] & 1)
            yield self._breaker(RETURNED)
            yield mirrored(TERMINATION)
            self._tell_others(connection)

    def _breaker(self, cause: int) -> bytes:
        head = TYPE.pack(SINGLE_POINT, 1, cause, STATION)
        return head + BREAKER.to_bytes(3, "little") + bytes([self._closed])

    def _tell_others(self, but: epollo.Connection[Link]) -> None:
        for each in self._centres - {but}:
            if each.state.started:
                try:
                    each.send(each.state.frame(self._breaker(SPONTANEOUS)))
                except ValueError:
                    each.close()


if __name__ == "__main__":
    epollo.serve(Station(), *sys.argv[1:2], framing="iec104")
