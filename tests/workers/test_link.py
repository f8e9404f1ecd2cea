"""The link between two workers: whole messages, in order, without waiting, within a limit."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from epollo.engine import EventLoop
from epollo.workers.broker import WorkersBroker
from epollo.workers.link import HELLO, PeerLink, frame_of
from tests.logs import Log

MOST = 1 << 16


class End:
    """One end, and what it was delivered."""

    def __init__(self, sock: socket.socket, pid: int) -> None:
        self.link = PeerLink(sock, pid)
        self.delivered: list[tuple[str, bytes]] = []

    def deliver(self, group: str, message: bytes) -> None:
        self.delivered.append((group, message))

    def receive(self) -> None:
        while self.link.receive(self.deliver):
            pass


@pytest.fixture
def ends() -> Iterator[tuple[End, End]]:
    one, other = socket.socketpair()
    pair = End(one, 1), End(other, 2)
    yield pair
    for end in pair:
        end.link.close()


def _greet(one: End, other: End) -> None:
    one.link.say(HELLO)
    other.receive()
    one.receive()


def test_nothing_is_sent_to_one_that_has_not_said_hello(ends: tuple[End, End]) -> None:
    one, other = ends
    other.link.put(frame_of("all", b"lost"), MOST)
    _greet(one, other)
    other.link.put(frame_of("all", b"got"), MOST)
    other.link.flush()
    one.receive()
    assert one.delivered == [("all", b"got")]


@pytest.mark.parametrize("group", ["", "all", "räume/λ", "\udcff", "x" * 100_000])
def test_names_and_messages_arrive_as_they_were(ends: tuple[End, End], group: str) -> None:
    one, other = ends
    _greet(one, other)
    messages = [b"", b"h", b"a", bytes(range(256)), bytes(300_000)]
    for message in messages:
        other.link.put(frame_of(group, message), 100 * MOST)
    while len(one.delivered) < len(messages):
        other.link.flush()
        one.receive()
    assert one.delivered == [(group, message) for message in messages]


def test_over_the_limit_messages_are_dropped_and_counted(ends: tuple[End, End]) -> None:
    one, other = ends
    _greet(one, other)
    for number in range(1000):
        other.link.put(frame_of("all", b"%d " % number + bytes(1000)), MOST)
        other.link.flush()
        assert other.link.unsent <= MOST
    assert other.link.dropped
    while other.link.unsent:
        one.receive()
        other.link.flush()
    one.receive()
    numbers = [int(message.split()[0]) for _, message in one.delivered]
    assert numbers == list(range(1000 - other.link.dropped))
    other.link.put(frame_of("all", bytes(10 * MOST)), MOST)  # one alone may be larger
    assert other.link.unsent > MOST


def test_a_frame_that_was_cut_off_by_the_end_is_dropped(ends: tuple[End, End]) -> None:
    one, other = ends
    whole = frame_of("all", b"whole")
    other.link._socket.send(whole + whole[:-1])
    other.link.close()
    one.receive()
    assert one.delivered == [("all", b"whole")]
    assert one.link.closed
    one.link.put(whole, MOST)
    one.link.flush()
    assert not one.link.unsent


def test_what_was_sent_arrives_from_one_that_ended_with_input_unread(
    ends: tuple[End, End],
) -> None:
    one, other = ends
    _greet(one, other)
    one.link._socket.send(frame_of("all", b"unread"))
    other.link.put(frame_of("all", b"last words"), MOST)
    other.link.flush()
    other.link.close()
    one.link.flush()
    one.receive()
    assert one.delivered == [("all", b"last words")]


# ---- The broker


def _brokers(loop: EventLoop) -> tuple[WorkersBroker, WorkersBroker, list[bytes]]:
    one, other = socket.socketpair()
    first, second = (
        WorkersBroker([PeerLink(one, 2)], MOST),
        WorkersBroker([PeerLink(other, 1)], MOST),
    )
    received: list[bytes] = []
    first.subscribe(lambda *_: None)
    second.subscribe(lambda _, message: received.append(message))
    first.begin(loop)
    second.begin(loop)
    for _ in range(4):
        loop.poll(0)
    return first, second, received


def _end(*brokers: WorkersBroker) -> None:
    for broker in brokers:
        broker.unsubscribe(broker._deliver)


def test_threads_publish_in_their_order(loop: EventLoop) -> None:
    first, second, received = _brokers(loop)

    def publish(name: int) -> None:
        for number in range(200):
            first.publish("all", b"%d %d" % (name, number), first._deliver)

    threads = [threading.Thread(target=publish, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    while len(received) < 800:
        loop.poll(1)
    for thread in threads:
        thread.join()
    pairs = [tuple(map(int, message.split())) for message in received]
    for name in range(4):
        assert [number for each, number in pairs if each == name] == list(range(200))
    _end(first, second)


def test_what_was_published_last_is_sent_before_the_end(loop: EventLoop) -> None:
    first, second, received = _brokers(loop)
    first.publish("all", b"goodbye", first._deliver)
    _end(first)
    loop.poll(1)
    assert received == [b"goodbye"]
    second.publish("all", b"to nobody", second._deliver)
    loop.poll(0)
    _end(second)


def test_drops_are_logged_once_a_second_with_their_number(loop: EventLoop, log: Log) -> None:
    first, second, _ = _brokers(loop)
    for _ in range(2):
        for _ in range(1000):
            first.publish("all", bytes(1000), first._deliver)
        first._flush()  # not the other's
    dropped = first.dropped
    assert dropped > 1000
    [line] = log.take()
    assert "messages to groups were dropped for worker 2, which does not take them" in line
    first.unsubscribe(first._deliver)
    [line] = log.take()
    assert line.endswith(f"({dropped} in all)")
    _end(second)


def test_a_worker_that_has_ended_is_left_out_though_a_child_of_it_holds_the_socket(
    loop: EventLoop,
) -> None:
    first, second, _ = _brokers(loop)
    second.publish("all", b"last", second._deliver)
    second._flush()
    got: list[bytes] = []
    first._deliver = lambda _, message: got.append(message)
    first.remove(2)
    assert got == [b"last"]
    first.publish("all", b"to nobody", first._deliver)
    first.remove(2)
    assert first.dropped == 0
    _end(first, second)
