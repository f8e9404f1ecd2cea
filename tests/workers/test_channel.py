"""Messages and descriptors between two processes, in order, whole, and without waiting."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest

from epollo.engine import EventLoop
from epollo.workers.channel import PACKET, Channel, ChannelWatch, Message, channel_pair


@pytest.fixture
def pair() -> Iterator[tuple[Channel, Channel]]:
    ours, theirs = channel_pair()
    yield ours, theirs
    ours.close()
    theirs.close()


def test_messages_keep_their_order_and_their_values(pair: tuple[Channel, Channel]) -> None:
    ours, theirs = pair
    ours.send("drain", grace=1.5, queued="own")
    ours.send("ping")
    assert theirs.receive() == [
        Message("drain", {"grace": 1.5, "queued": "own"}),
        Message("ping", {}),
    ]
    assert theirs.receive() == []


@pytest.mark.parametrize("size", [PACKET - 100, PACKET, 3 * PACKET + 1])
def test_a_large_message_arrives_whole(pair: tuple[Channel, Channel], size: int) -> None:
    ours, theirs = pair
    ours.send("text", text="x" * size)
    messages = theirs.receive()
    while not messages:
        ours.flush()
        messages = theirs.receive()
    assert messages == [Message("text", {"text": "x" * size})]


def test_descriptors_travel_with_their_message(pair: tuple[Channel, Channel]) -> None:
    ours, theirs = pair
    reader, writer = os.pipe()
    ours.send("first")
    ours.send("take", [writer], text="x" * PACKET)
    os.close(writer)
    first, taken = theirs.receive()
    [descriptor] = taken.descriptors
    assert (first.descriptors, os.get_inheritable(descriptor)) == ((), False)
    os.write(descriptor, b"hello")
    os.close(descriptor)
    assert os.read(reader, 10) == b"hello"
    os.close(reader)


def test_what_the_other_side_does_not_take_is_queued(pair: tuple[Channel, Channel]) -> None:
    ours, theirs = pair
    count = 0
    while not ours.unsent:
        ours.send("number", number=count)
        count += 1
    received = 0
    while received < count:
        for message in theirs.receive():
            assert message.values["number"] == received
            received += 1
        ours.flush()
    assert not ours.unsent


def test_the_end_of_the_other_side_closes_it_behind_the_last_message(
    pair: tuple[Channel, Channel],
) -> None:
    ours, theirs = pair
    theirs.send("failed", text="why")
    theirs.close()
    assert (ours.receive(), ours.closed) == ([Message("failed", {"text": "why"})], True)
    ours.send("ping")  # to nobody
    assert not ours.unsent


def test_a_watch_hands_over_messages_and_the_end(
    loop: EventLoop, pair: tuple[Channel, Channel]
) -> None:
    ours, theirs = pair
    kinds: list[str] = []
    watch = ChannelWatch(
        loop, ours, lambda message: kinds.append(message.kind), lambda: kinds.append("end")
    )
    theirs.send("one")
    theirs.send("two")
    loop.poll(0)
    assert kinds == ["one", "two"]
    while not ours.unsent:
        watch.send("full", text="x" * 1000)
    while ours.unsent:
        theirs.receive()
        loop.poll(0)  # it waits to write
    theirs.close()
    loop.poll(0)
    assert kinds == ["one", "two", "end"]


def test_an_error_of_one_message_does_not_stop_the_next(
    loop: EventLoop, pair: tuple[Channel, Channel]
) -> None:
    ours, theirs = pair
    errors: list[str] = []
    kinds: list[str] = []

    def receive(message: Message) -> None:
        kinds.append(message.kind)
        raise ValueError(message.kind)

    loop.on_error = lambda error, what: errors.append(f"{what}: {error}")
    ChannelWatch(loop, ours, receive, list)
    theirs.send("one")
    theirs.send("two")
    loop.poll(0)
    assert kinds == ["one", "two"]
    assert errors[0] == "a message of kind one was not handled: one"


def test_the_last_messages_of_a_process_arrive_though_it_has_not_read_all(
    pair: tuple[Channel, Channel],
) -> None:
    ours, theirs = pair
    ours.send("ping")
    theirs.send("failed", text="why")
    theirs.close()
    assert ours.receive() == [Message("failed", {"text": "why"})]
    assert ours.closed


def test_a_socket_that_is_given_is_closed_here(pair: tuple[Channel, Channel]) -> None:
    ours, theirs = pair
    one, other = socket.socketpair()
    with other:
        ours.give("link", one, worker=1)
        assert one.fileno() < 0
        [message] = theirs.receive()
        with socket.socket(fileno=message.descriptors[0]) as received:
            other.send(b"hello")
            assert received.recv(100) == b"hello"


def test_a_given_socket_is_closed_also_if_nobody_takes_it(pair: tuple[Channel, Channel]) -> None:
    ours, theirs = pair
    one, other = socket.socketpair()
    last, rest = socket.socketpair()
    with other, rest:
        while not ours.unsent:
            ours.send("text", text="x" * 10_000)
        ours.give("link", one, worker=1)
        assert one.fileno() >= 0
        theirs.close()
        ours.flush()
        assert one.fileno() < 0
        ours.close()
        ours.give("link", last, worker=1)
        assert last.fileno() < 0
