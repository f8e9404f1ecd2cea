"""What is remembered of the messages given up is the last of them, and no more."""

from __future__ import annotations

from epollo.bench.run.expired import Forgone


def test_each_has_one_reply_on_its_own_connection() -> None:
    forgone = Forgone()
    forgone.add(1, b"late")
    assert not forgone.take(2, b"late")
    assert not forgone.take(1, b"never sent")
    assert forgone.take(1, b"late")
    assert not forgone.take(1, b"late")
    assert len(forgone) == 0


def test_the_oldest_is_forgotten_for_the_newest() -> None:
    forgone = Forgone(most=100)
    for number in range(10_000):
        forgone.add(0, b"%d" % number)
    assert len(forgone) == 100
    assert not forgone.take(0, b"9899")
    assert all(forgone.take(0, b"%d" % number) for number in range(9900, 10_000))
