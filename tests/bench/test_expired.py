"""Of the messages given up, the last ones are remembered, and no more."""

from __future__ import annotations

from epollo.bench.run.expired import ExpiredRequests


def test_each_has_one_reply_on_its_own_connection() -> None:
    expired = ExpiredRequests()
    expired.add(1, b"late")
    assert not expired.match(2, b"late")
    assert not expired.match(1, b"never sent")
    assert expired.match(1, b"late")
    assert not expired.match(1, b"late")
    assert len(expired) == 0


def test_the_oldest_is_forgotten_for_the_newest() -> None:
    expired = ExpiredRequests(most=100)
    for number in range(10_000):
        expired.add(0, b"%d" % number)
    assert len(expired) == 100
    assert not expired.match(0, b"9899")
    assert all(expired.match(0, b"%d" % number) for number in range(9900, 10_000))
