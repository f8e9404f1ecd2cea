"""The engines and pollers that tests run on."""

from __future__ import annotations

import importlib
import os
from dataclasses import dataclass
from typing import Any

import pytest

from epollo import Server
from epollo.engine import EventLoop, available, new_loop
from epollo.engine.python.poller import POLLERS
from epollo.server.handlers.handler import Handler


@dataclass(frozen=True)
class Engine:
    """An engine on one of its pollers."""

    name: str
    poller: str

    def loop(self) -> EventLoop:
        return new_loop(self.name, self.poller)

    def server(self, handler: Handler, **settings: Any) -> Server:
        settings.setdefault("bind", "127.0.0.1:0")
        return Server(handler, engine=self.name, poller=self.poller, **settings)

    @property
    def flags(self) -> list[str]:
        return ["--engine", self.name, "--poller", self.poller]

    @property
    def is_descriptor(self) -> bool:
        """Can another event loop wait for this one, as for one descriptor?"""
        return self.poller not in ("poll", "select")

    def __str__(self) -> str:
        return f"{self.name}-{self.poller}"


NATIVE_MODULES: list[Any] = []  # those of the native engine that count their live objects
ON_EVERY_POLLER = [Engine("python", poller) for poller in POLLERS]
if "native" in available():
    ON_EVERY_POLLER.insert(0, Engine("native", "epoll"))
    names = ("endpoint", "decoder", "outbox")
    NATIVE_MODULES += [importlib.import_module(f"epollo.engine.native.{name}") for name in names]
    NATIVE_MODULES.append(importlib.import_module("epollo.bench.run.native.pipeline"))
elif os.environ.get("EPOLLO_NATIVE") == "require":
    raise RuntimeError("EPOLLO_NATIVE=require, and the native engine is not built")

# Each engine on its best poller: the native one, and Python's on epoll where there is epoll.
ENGINES = [each for each in ON_EVERY_POLLER if each.poller in ("epoll", next(iter(POLLERS)))]

every_poller = pytest.mark.parametrize("engine", ON_EVERY_POLLER, ids=str)
"""Runs a test that uses ``engine``, or ``loop``, on every poller of this machine: for what pollers
do differently. Everything else runs on `ENGINES`."""


def live_native_objects() -> dict[str, int]:
    """How many objects of the native engine there are, by module; only those that have any."""
    return {module.__name__: module.live() for module in NATIVE_MODULES if module.live()}
