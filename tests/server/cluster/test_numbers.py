"""Numbers of messages: what is missing is known, and nothing is missed that never was."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from epollo.server.groups.cluster.envelope import (
    ASK,
    MESSAGE,
    TOLD,
    Envelope,
    Origin,
    pack,
    unpack,
)
from epollo.server.groups.cluster.outbox import Outbox
from epollo.server.groups.cluster.published import FIRST_SECONDS, LAST_SECONDS, Published
from epollo.server.groups.cluster.received import KEPT_SECONDS, Received

HERE = Origin(b"here....", 1)
THERE = Origin(b"there...", 2)


def message(number: int, stream: int = 1, origin: Origin = THERE) -> Envelope:
    return Envelope(MESSAGE, origin, stream, number, b"")


def take(received: Received, number: int, stream: int = 1, *, told: bool = False) -> object:
    return received.take(message(number, stream), told=told, now=0.0)


@given(st.binary(max_size=300), st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1))
def test_a_message_passes_as_its_bytes(payload: bytes, stream: int, number: int) -> None:
    for kind in (MESSAGE, TOLD, ASK):
        packed = pack(kind, THERE, stream, number, payload)
        assert len(packed) == 25 + len(payload)
        assert unpack(packed) == Envelope(kind, THERE, stream, number, payload)


@given(st.binary(max_size=24) | st.binary(min_size=25, max_size=40).filter(lambda d: d[0] > 3))
def test_what_is_no_message_of_epollo_is_none(data: bytes) -> None:
    assert unpack(data) is None


def test_a_gap_is_counted_once() -> None:
    received = Received()
    assert take(received, 5) == (True, 0), "what was before the first is not missed"
    assert take(received, 6) == (True, 0)
    assert take(received, 9) == (True, 2)
    assert take(received, 9) == (False, 0), "at most once"
    assert take(received, 7) == (False, 0)
    assert take(received, 10) == (True, 0)


def test_the_last_number_shows_what_no_later_message_does() -> None:
    received = Received()
    assert take(received, 5, told=True) == (True, 0)
    assert take(received, 6) == (True, 0)
    assert take(received, 8, told=True) == (True, 2)
    assert take(received, 8, told=True) == (False, 0)
    assert take(received, 9) == (True, 0)


def test_a_new_stream_begins_at_one() -> None:
    received = Received()
    assert take(received, 500, 1) == (True, 0)
    assert take(received, 1, 2) == (True, 0)
    assert take(received, 3, 3) == (True, 2)
    assert take(received, 501, 1) == (False, 0)


def test_sources_are_apart_and_silent_ones_are_forgotten() -> None:
    received = Received()
    for number in range(1000):
        origin = Origin(b"node....", number)
        assert received.take(message(7, 1, origin), told=False, now=number) == (True, 0)
    assert len(received._last) <= KEPT_SECONDS + 64


def told(published: Published, now: float) -> list[str]:
    return list(published.due(now, 100))


def test_a_number_is_told_in_silence_at_growing_intervals_and_then_forgotten() -> None:
    published = Published()
    assert published.next("a", 0.0) == (1, 1)
    assert told(published, 0.9) == []
    times, now = [], 0.0
    while now < 400:
        now += 0.5
        times += [now] * len(told(published, now))
    gaps = [later - one for one, later in pairwise(times)]
    assert gaps[0] >= FIRST_SECONDS
    assert gaps == sorted(gaps)
    assert gaps[-1] == LAST_SECONDS
    assert published.last("a") is None
    assert published.next("a", now) == (2, 1)


def test_after_a_lost_connection_all_are_told_at_once_and_then_as_after_a_message() -> None:
    published = Published()
    published.next("a", 0.0)
    assert told(published, FIRST_SECONDS) == []
    assert told(published, 2 * FIRST_SECONDS) == ["a"]
    published.next("b", 10.0)
    published.tell_all(10.0)
    assert told(published, 10.0) == ["a", "b"]
    assert told(published, 10.0) == []
    assert sorted(told(published, 10.0 + FIRST_SECONDS)) == ["a", "b"]


def test_nothing_is_told_while_messages_show_it() -> None:
    published = Published()
    for now in range(100):
        published.next("a", now)
        assert told(published, now + 0.5) == []


def outbox(most: int = 1000) -> Outbox:
    return Outbox(HERE, most)


def sent(box: Outbox) -> list[tuple[int, int, bytes]]:
    found = []
    while (item := box.take()) is not None:
        envelope = unpack(item.data)
        assert envelope is not None
        found.append((envelope.kind, envelope.number, envelope.message))
    return found


def test_a_message_that_is_dropped_has_its_number_all_the_same() -> None:
    box = outbox(most=500)
    taken = [box.put("a", bytes(100)) for _ in range(4)]
    assert taken == [True, True, False, False]
    assert (box.dropped, box.waiting) == (2, 450)
    assert [number for _, number, _ in sent(box)] == [1, 2]
    assert box.waiting == 0
    assert box.put("a", b"next")
    assert sent(box) == [(MESSAGE, 5, b"next")]


def test_one_message_may_always_wait() -> None:
    box = outbox(most=10)
    assert box.put("a", bytes(1000))
    assert not box.put("a", b"")
    assert len(sent(box)) == 1


def test_a_number_is_told_behind_the_messages_before_it() -> None:
    box = outbox()
    box.tell("a")
    assert sent(box) == [], "there is none"
    box.put("a", b"one")
    box.tell("a")
    box.put("a", b"two")
    assert sent(box) == [(MESSAGE, 1, b"one"), (TOLD, 1, b""), (MESSAGE, 2, b"two")]
