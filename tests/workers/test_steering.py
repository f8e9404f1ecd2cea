"""Which sockets of a group get new connections."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from epollo import address
from epollo.workers.sockets import SlotSockets
from epollo.workers.steering import steer, steer_to_all

Group = tuple[SlotSockets, list[socket.socket]]


@pytest.fixture
def group() -> Iterator[Group]:
    options = address.Options(backlog=128, grouped=True)
    where = address.parse("127.0.0.1:0")
    [bound] = address.listen_all(where, options)
    sockets = SlotSockets(where, 0, bound, options)
    for _ in range(3):
        sockets.add()
    yield sockets, _sockets_of(sockets)
    sockets.close()


def _sockets_of(slots: SlotSockets) -> list[socket.socket]:
    found = [slots.of(index).socket for index in range(4)]
    return [each for each in found if each is not None]


def _spread(sockets: list[socket.socket], connections: int = 100) -> list[int]:
    """How many of so many connections are in the queue of each."""
    with ExitStack() as open_:
        for _ in range(connections):
            open_.enter_context(socket.create_connection(sockets[0].getsockname()))
        return [_accept_all(each) for each in sockets]


def _accept_all(listener: socket.socket) -> int:
    count = 0
    try:
        while True:
            listener.accept()[0].close()
            count += 1
    except BlockingIOError:
        return count


def test_the_kernel_spreads_over_all(group: Group) -> None:
    _, sockets = group
    steer_to_all(sockets[0])
    assert all(_spread(sockets))


@pytest.mark.parametrize("chosen", [[0], [3], [1, 2], [0, 1, 3]])
def test_only_the_chosen_ones_get_new_connections(group: Group, chosen: list[int]) -> None:
    _, sockets = group
    steer(sockets[0], chosen)
    spread = _spread(sockets)
    assert sum(spread) == 100
    assert [index for index, count in enumerate(spread) if count] == chosen
    steer_to_all(sockets[0])
    assert all(_spread(sockets))
    steer_to_all(sockets[0])  # once more does nothing


def test_the_last_one_can_be_closed_and_another_added(group: Group) -> None:
    slots, sockets = group
    slots.remove_last()
    steer(sockets[0], [2])
    assert _spread(sockets[:3]) == [0, 0, 100]
    slots.add()
    assert _spread(_sockets_of(slots))[3] == 0
    slots.steer([3], alone=True)
    assert _spread(_sockets_of(slots)) == [0, 0, 0, 100]


def test_another_program_cannot_listen_there(group: Group) -> None:
    where = str(address.of(group[1][0].getsockname()))
    with pytest.raises(OSError, match="address already in use"):
        address.listen(address.parse(where), 1)
