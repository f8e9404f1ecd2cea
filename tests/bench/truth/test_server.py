"""The server of the truth tests follows its behaviour, and records what it did."""

from __future__ import annotations

import struct
from time import monotonic_ns

import pytest

from tests.bench.truth.behaviour import SECOND, Behaviour
from tests.bench.truth.scene import Entry, serving
from tests.support import Peer, frame


def asked(behaviour: Behaviour, messages: list[bytes]) -> tuple[list[bytes], list[Entry]]:
    """What the server answers to messages that are all sent at once, and its record."""
    with serving(behaviour) as witness:
        with Peer(witness.address) as peer:
            peer.send(b"".join(map(frame, messages)))
            replies: list[bytes] = []
            while len(replies) < REPLIES.get(behaviour.deeds, len(messages)):
                size = struct.unpack(">I", peer.receive(4))[0]
                replies.append(peer.receive(size))
        return replies, witness.record()


REPLIES: dict[tuple[str, ...], int] = {("repeat",): 5, ("extra",): 5, ("swallow",): 3}


def messages(count: int) -> list[bytes]:
    """As the tester makes them: number, connection, time intended."""
    now = monotonic_ns()
    return [struct.pack("<QIQ", number, 7, now + number) + b"and more" for number in range(count)]


@pytest.mark.parametrize(
    ("deed", "order"),
    [
        ("", [0, 1, 2, 3]),
        ("repeat", [0, 1, 1, 2, 3]),
        ("swap", [0, 2, 1, 3]),
        ("swallow", [0, 2, 3]),
        ("late", [0, 2, 3, 1]),
        ("extra", [0, 1, None, 2, 3]),
        ("flip", [0, None, 2, 3]),
        ("flip_number", [0, None, 2, 3]),
        ("shorten", [0, None, 2, 3]),
    ],
)
def test_a_deed_is_done_once_to_the_message_of_its_number(
    deed: str, order: list[int | None]
) -> None:
    sent = messages(4)
    deeds = (deed,) if deed else ()
    replies, record = asked(Behaviour(deeds=deeds, every=2, until=3, late=0.05), sent)
    assert [sent.index(reply) if reply in sent else None for reply in replies] == order
    assert [entry.deed for entry in record] == ["", deed, "", ""]
    assert [(entry.number, entry.connection) for entry in record] == [(n, 7) for n in range(4)]
    assert [entry.answered for entry in record] == [True, deed != "swallow", True, True]


@pytest.mark.parametrize("queue", [False, True])
def test_no_reply_leaves_before_it_is_due(queue: bool) -> None:
    service = 0.01
    _, record = asked(Behaviour(service=service, queue=queue), messages(4))
    for place, entry in enumerate(record):
        assert entry.intended <= entry.arrived <= entry.due <= entry.sent
        waited = entry.due - entry.arrived
        assert waited == (1 + place * queue) * round(service * SECOND)


def test_a_stall_holds_what_is_due_in_it() -> None:
    _, record = asked(Behaviour(service=0.01, stall=0.1, stall_at=0.005), messages(3))
    assert [entry.due - entry.arrived for entry in record] == [round(0.105 * SECOND)] * 3
