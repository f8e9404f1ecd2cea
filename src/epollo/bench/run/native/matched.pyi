from typing import Any

from epollo.bench.run.matched_connection import MatchedConnection

class MatchedPipeline(MatchedConnection):
    """The messages outstanding on one connection, by identifier."""

    def __init__(self, *settings: Any) -> None: ...
