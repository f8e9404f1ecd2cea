from typing import Any

from epollo.bench.run.one_way_connection import OneWayConnection

class OneWayPipeline(OneWayConnection):
    """Sends messages, and expects no replies."""

    def __init__(self, *settings: Any) -> None: ...
