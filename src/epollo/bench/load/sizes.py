"""The sizes of messages: one size, a range, or a list with weights."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from epollo.errors import SettingError
from epollo.units import parse_number, parse_size

_DRAWN = 1 << 12  # sizes that are drawn in advance, and then repeated


@dataclass(frozen=True, slots=True)
class Sizes:
    """Sizes in bytes with their probabilities.

    Attributes:
        choices: ranges of sizes, with both ends included.
        weights: one for each choice; their sum may be anything.
    """

    choices: tuple[tuple[int, int], ...]
    weights: tuple[float, ...]

    @property
    def least(self) -> int:
        """The smallest possible size."""
        return min(low for low, _ in self.choices)

    @property
    def most(self) -> int:
        """The largest possible size."""
        return max(high for _, high in self.choices)

    def draw(self, seed: int) -> list[int]:
        """Random sizes, in the order of the messages; a list of one if all have the same size."""
        if self.least == self.most:
            return [self.least]
        chance = random.Random(seed)  # noqa: S311 (not for security)
        drawn = chance.choices(self.choices, self.weights, k=_DRAWN)
        return [chance.randint(low, high) for low, high in drawn]


def parse_sizes(text: str | int) -> Sizes:
    """``64``, ``64..1KiB``, or a list with weights: ``64:9,1KiB:1``.

    Raises SettingError that names the fix.
    """
    choices, weights = [], []
    for part in str(text).split(","):
        size, colon, weight = part.partition(":")
        low, range_, high = size.partition("..")
        if range_ and not high:
            raise SettingError(f"size: {part!r} has no upper end; write {low}..1KiB")
        choices.append((_number(parse_size, low), _number(parse_size, high or low)))
        weights.append(float(_number(parse_number, weight)) if colon else 1.0)
        if choices[-1][0] > choices[-1][1] or not weights[-1] > 0:
            raise SettingError(f"size: {part!r} is empty; write 64..1KiB, or 64:9,1KiB:1")
    return Sizes(tuple(choices), tuple(weights))


def _number(parse: Callable[[str], Any], text: str) -> Any:
    try:
        return parse(text)
    except ValueError as error:
        raise SettingError(f"size: {error}") from None
