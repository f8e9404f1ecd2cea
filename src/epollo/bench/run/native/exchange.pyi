from epollo.bench.run.connection import Conversation
from epollo.bench.run.driver import Driver

class Exchange(Conversation):
    """The protocol of one connection."""

    def __init__(self, driver: Driver, serial: int, slot: int, lacking: int) -> None: ...

def live() -> int:
    """How many exchanges there are: for tests that look for leaks."""
