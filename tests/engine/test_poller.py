"""The pollers: one behaviour, and select's limit."""

from __future__ import annotations

import os
import resource
import socket
from collections.abc import Iterator

import pytest

from epollo.engine.events import ERROR, HANGUP, READ, WRITE
from epollo.engine.python.poller import POLLERS, SELECT_LIMIT, Poller, new_poller
from epollo.errors import EngineMissing, PollerFull


@pytest.fixture(params=POLLERS)
def poller(request: pytest.FixtureRequest) -> Iterator[Poller]:
    poller = new_poller(request.param)
    yield poller
    poller.close()


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def test_nothing_is_ready_until_something_is(
    poller: Poller, pair: tuple[socket.socket, socket.socket]
) -> None:
    ours, theirs = pair
    poller.register(ours.fileno(), READ)
    assert poller.poll(0) == []
    theirs.send(b"x")
    assert poller.poll(10) == [(ours.fileno(), READ)]


def test_readiness_is_a_level_told_until_it_is_gone(
    poller: Poller, pair: tuple[socket.socket, socket.socket]
) -> None:
    ours, theirs = pair
    poller.register(ours.fileno(), READ)
    theirs.send(b"xy")
    for left in (2, 1):
        assert poller.poll(10) == [(ours.fileno(), READ)], f"{left} bytes are unread"
        ours.recv(1)
    assert poller.poll(0) == []


def test_interest_can_change(poller: Poller, pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    theirs.send(b"x")
    poller.register(ours.fileno(), READ)
    poller.modify(ours.fileno(), WRITE)
    assert poller.poll(10) == [(ours.fileno(), WRITE)]
    poller.modify(ours.fileno(), READ | WRITE)
    assert poller.poll(10) == [(ours.fileno(), READ | WRITE)]
    poller.modify(ours.fileno(), 0)
    assert poller.poll(0) == []
    poller.unregister(ours.fileno())
    assert poller.poll(0) == []


def test_the_end_of_the_stream_is_something_to_read(
    poller: Poller, pair: tuple[socket.socket, socket.socket]
) -> None:
    ours, theirs = pair
    poller.register(ours.fileno(), READ)
    theirs.shutdown(socket.SHUT_WR)
    ((fd, events),) = poller.poll(10)
    assert fd == ours.fileno()
    assert events & READ
    assert not events & ~(READ | ERROR | HANGUP)


@pytest.fixture
def high_descriptor(pair: tuple[socket.socket, socket.socket]) -> Iterator[int]:
    """A descriptor just beyond what select can watch."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, SELECT_LIMIT + 64), hard))
    fd = os.dup2(pair[0].fileno(), SELECT_LIMIT)
    yield fd
    os.close(fd)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_select_refuses_descriptor_1024_in_one_line(high_descriptor: int) -> None:
    poller = new_poller("select")
    with pytest.raises(PollerFull, match="select cannot watch descriptor 1024, only those below"):
        poller.register(high_descriptor, READ)


@pytest.mark.parametrize("name", [name for name in POLLERS if name != "select"])
def test_the_others_take_descriptor_1024(name: str, high_descriptor: int) -> None:
    poller = new_poller(name)
    poller.register(high_descriptor, WRITE)
    assert poller.poll(10) == [(high_descriptor, WRITE)]
    poller.close()


def test_an_unknown_poller_is_one_line_with_the_names() -> None:
    with pytest.raises(EngineMissing, match="no poller 'epol' on this machine; there are "):
        new_poller("epol")


def test_the_best_poller_of_the_platform_is_the_default() -> None:
    poller = new_poller()
    assert poller.name == next(iter(POLLERS))
    poller.close()
