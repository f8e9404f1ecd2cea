from epollo.bench.run.connection import BenchConnection, ConnectionListener
from epollo.bench.run.context import RunContext

class Pipeline(BenchConnection):
    """The messages outstanding on one connection."""

    def __init__(
        self,
        context: RunContext,
        listener: ConnectionListener,
        serial: int,
        slot: int,
        ramp_remaining: int,
    ) -> None: ...

def live() -> int:
    """How many pipelines there are: for tests that look for leaks."""
