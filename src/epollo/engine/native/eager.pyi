from asyncio import AbstractEventLoop
from collections.abc import Callable, Coroutine
from typing import Any

from epollo.engine import EngineConnection, Reply
from epollo.engine.eager import EagerCallbacks

class EagerRunner:
    """Calls an async handler, and takes the first step of its coroutine at once."""

    def __init__(
        self,
        loop: AbstractEventLoop,
        receive: Callable[..., Coroutine[Any, Any, Reply]],
        wants_connection: bool,
        callbacks: EagerCallbacks,
    ) -> None: ...
    def received(self, message: bytes, connection: EngineConnection) -> Reply: ...
    def start(
        self, work: Coroutine[Any, Any, Reply], connection: EngineConnection, weight: int
    ) -> Reply: ...
