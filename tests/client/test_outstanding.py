"""The requests that have no reply yet, found by their identifiers."""

from __future__ import annotations

from random import Random

import pytest

from epollo import Match, UsageError
from epollo.client import outstanding
from epollo.client.blocking.connection import PendingReply
from epollo.client.match import bytes_at
from epollo.client.outstanding import OutstandingById, TooManyOverdue

BY_TWO = bytes_at(0, 2)


def unwanted(message: bytes) -> None:
    pytest.fail(f"{message!r} is a push")


def table(match: Match = BY_TWO) -> OutstandingById[PendingReply]:
    return OutstandingById(match)


def ask(requests: OutstandingById[PendingReply], message: bytes) -> PendingReply:
    reply = PendingReply()
    identifier, _ = requests.prepare(message)
    requests.add(identifier, reply)
    return reply


def test_each_reply_reaches_its_request_in_any_order() -> None:
    requests = table()
    replies = {b"%02d" % number: ask(requests, b"%02d?" % number) for number in range(100)}
    messages = [identifier + b"!" for identifier in replies]
    Random(1).shuffle(messages)  # noqa: S311
    requests.deliver(messages, unwanted)
    assert not requests
    assert {identifier: reply.message for identifier, reply in replies.items()} == {
        identifier: identifier + b"!" for identifier in replies
    }


def test_an_identifier_in_use_is_refused_until_its_reply_has_come() -> None:
    requests = table()
    first = ask(requests, b"01 first")
    with pytest.raises(UsageError, match="identifier b'01' is in use: the request with it"):
        requests.prepare(b"01 second")
    first.given_up = True
    with pytest.raises(UsageError, match="is in use: its request was given up, and the reply may"):
        requests.prepare(b"01 third")
    requests.deliver([b"01 late"], unwanted)
    assert requests.late == 1
    assert first.message is None
    ask(requests, b"01 fourth")


def test_a_message_that_no_request_waits_for_is_a_push() -> None:
    requests, pushes = table(Match(lambda message: message[:1].strip() or None)), list[bytes]()
    reply = ask(requests, b"1 hello")
    requests.deliver([b"2 other", b" none", b"1 reply", b"1 again"], pushes.append)
    assert pushes == [b"2 other", b" none", b"1 again"]
    assert reply.message == b"1 reply"


@pytest.mark.parametrize("message", [b"", b"1"])
def test_a_request_without_an_identifier_is_refused(message: bytes) -> None:
    for match in (BY_TWO, bytes_at(0, 2, stamp=True), Match(lambda _: None)):
        with pytest.raises(UsageError, match=r"message of \d bytes? has no identifier"):
            table(match).prepare(message)


def test_a_reply_may_have_its_identifier_elsewhere() -> None:
    requests = table(Match(lambda message: message[:1], lambda message: message[-1:]))
    reply = ask(requests, b"1 hello")
    requests.deliver([b"reply to 1"], unwanted)
    assert reply.message == b"reply to 1"


def test_stamps_pass_over_identifiers_in_use_and_wrap_around() -> None:
    requests = table(bytes_at(0, 1, stamp=True))
    held = ask(requests, b"?first")
    for number in range(1, 600):
        identifier, stamped = requests.prepare(b"?next")
        assert isinstance(identifier, bytes)
        assert stamped == identifier + b"next"
        assert identifier != b"\0"
        if number == 1:
            assert identifier == b"\1"
    assert held.message is None


def test_more_than_all_identifiers_in_flight_are_refused() -> None:
    requests = table(bytes_at(0, 1, stamp=True))
    replies = [ask(requests, b"?") for _ in range(256)]
    with pytest.raises(UsageError, match="every identifier is in use by one of 256 requests"):
        requests.prepare(b"?")
    replies[7].given_up = True
    with pytest.raises(TooManyOverdue):
        requests.prepare(b"?")


def test_the_requests_that_were_given_up_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outstanding, "MAX_OVERDUE", 10)
    requests = table(bytes_at(0, 4, stamp=True))
    patient = [ask(requests, b"????") for _ in range(30)]  # these are only open
    for _ in range(10):
        ask(requests, b"????").given_up = True
    with pytest.raises(TooManyOverdue):
        [ask(requests, b"????") for _ in range(11)]
    assert len(patient) == 30
    requests.clear()
    ask(requests, b"????")


def test_a_getter_that_raises_leaves_the_messages_behind_it() -> None:
    requests = table(Match(lambda message: message[0]))
    reply = ask(requests, b"1")
    messages = [b"1", b"", b"2"]
    with pytest.raises(IndexError):
        requests.deliver(messages, unwanted)
    assert reply.message == b"1"
    assert messages == [b"", b"2"]
