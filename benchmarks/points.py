"""The points at which every server is measured."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Point:
    """A closed loop: each connection keeps `depth` messages of `size` bytes outstanding."""

    connections: int
    depth: int
    size: int

    def __str__(self) -> str:
        size = f"{self.size // 1024} KiB" if self.size >= 1024 else f"{self.size} B"
        return f"{self.connections} connections, depth {self.depth}, {size}"


SMALL = Point(connections=100, depth=1, size=64)
PIPELINED = Point(connections=100, depth=16, size=64)
LARGE = Point(connections=100, depth=1, size=16 * 1024)

POINTS = (SMALL, PIPELINED, LARGE)
