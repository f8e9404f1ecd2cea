"""The closed loops under which servers are measured."""

from dataclasses import dataclass

from epollo.units import format_size


@dataclass(frozen=True, slots=True)
class Point:
    """A closed loop: each connection keeps `depth` messages of `size` bytes outstanding."""

    name: str
    depth: int
    size: int

    def __str__(self) -> str:
        return f"depth {self.depth}, {format_size(self.size)}"


SMALL = Point("d1", depth=1, size=64)
PIPELINED = Point("d16", depth=16, size=64)
LARGE = Point("16k", depth=1, size=16 << 10)
HUGE = Point("1m", depth=1, size=1 << 20)

POINTS = (SMALL, PIPELINED, LARGE, HUGE)


def select(names: list[str]) -> tuple[Point, ...]:
    """Return the named points, in their order.

    Raises:
        ValueError: there is no such point.
    """
    known = [point.name for point in POINTS]
    unknown = set(names) - set(known)
    if unknown:
        raise ValueError(f"no point is called {', '.join(unknown)}; there are {', '.join(known)}")
    return tuple(point for point in POINTS if point.name in names)
