"""Messages that wait while delivery is paused, in little memory."""

from __future__ import annotations

from operator import length_hint

import pytest

from epollo.engine.held_back import FEW, HeldBack, compact


@pytest.mark.parametrize("size", [0, 1, 255, 256, 65_536])
def test_they_are_the_same_in_the_same_order(size: int) -> None:
    messages = [bytes([number]) * size for number in range(FEW + 1)]
    held = compact(iter(messages))
    assert isinstance(held, HeldBack)
    assert next(held) == messages[0]
    assert length_hint(held) == FEW
    assert compact(held) is held
    assert list(held) == messages[1:]
    assert length_hint(held) == 0


def test_a_few_stay_as_they_are() -> None:
    messages = iter([b"message"] * FEW)
    assert compact(messages) is messages
