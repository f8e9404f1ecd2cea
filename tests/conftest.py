"""Fixtures: the engine that a behaviour runs on, and what must be left behind: nothing."""

from __future__ import annotations

import gc
import importlib
import logging
import os
import sys
import threading
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from epollo import Server
from epollo.engine import EventLoop, available, new_loop
from epollo.engine.lifecycle import Lifecycle
from epollo.engine.python.poller import POLLERS
from epollo.handler import Handler
from tests.support import DEADLINE


@dataclass(frozen=True)
class Engine:
    """One of the ways to run that every behaviour is tested on."""

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


NATIVE: list[Any] = []  # the native engine's modules that count their objects
ENGINES = [Engine("python", poller) for poller in POLLERS]
if "native" in available():
    ENGINES.insert(0, Engine("native", "epoll"))
    names = ("endpoint", "decoder", "outbox")
    NATIVE += [importlib.import_module(f"epollo.engine.native.{name}") for name in names]
    NATIVE.append(importlib.import_module("epollo.bench.native.exchange"))
elif os.environ.get("EPOLLO_NATIVE") == "require":
    raise RuntimeError("EPOLLO_NATIVE=require, and the native engine is not built")


@pytest.fixture(params=ENGINES, ids=lambda engine: f"{engine.name}-{engine.poller}")
def engine(request: pytest.FixtureRequest) -> Engine:
    assert isinstance(request.param, Engine)
    return request.param


@pytest.fixture
def loop(engine: Engine) -> Iterator[EventLoop]:
    loop = engine.loop()
    yield loop
    loop.close()


class Log(logging.Handler):
    """Keeps what epollo logs from WARNING on; a test takes what it expects."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.records: list[logging.LogRecord] = []
        self.slow: list[str] = []  # apart, since a busy machine makes any handler slow

    def emit(self, record: logging.LogRecord) -> None:
        if "held the loop" in record.msg:
            self.slow.append(record.getMessage())
        else:
            self.records.append(record)

    def take(self) -> list[str]:
        """The lines logged until now, which were expected."""
        lines = [record.getMessage() for record in self.records]
        self.records.clear()
        return lines


@pytest.fixture(autouse=True)
def log() -> Iterator[Log]:
    """Fails a test that leaves an unexpected line in the log."""
    handler = Log()
    logger = logging.getLogger("epollo")
    logger.addHandler(handler)
    yield handler
    logger.removeHandler(handler)
    assert handler.take() == []


@pytest.fixture(autouse=True, scope="module")
def looked_through() -> None:
    """Spares `nothing_left` to look through all that was there before this module's tests, with
    each of them: a quarter of a million objects, mostly pytest's own and the libraries'."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def nothing_left(log: Log) -> Iterator[None]:
    """Fails a test that leaves a descriptor, a thread or a connection object behind."""
    descriptors, threads = _descriptors(), set(threading.enumerate())
    yield
    for thread in set(threading.enumerate()) - threads:
        thread.join(DEADLINE)  # which one that was told to end, as rich tells its own, may be doing
    for record in log.records:
        record.exc_info = None  # whose traceback would hold what it saw
    _clear_failure()
    gc.collect()
    assert set(threading.enumerate()) <= threads
    assert _descriptors() == descriptors
    assert [thing for thing in gc.get_objects() if isinstance(thing, Lifecycle)] == []
    assert {module.__name__: module.live() for module in NATIVE if module.live()} == {}


def _clear_failure() -> None:
    """Let go of what the error of a failed test holds: pytest keeps it until the next test. A test
    that is expected to fail has to leave nothing behind, too."""
    error: BaseException | None = getattr(sys, "last_value", None)
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        for frame, _ in traceback.walk_tb(error.__traceback__):
            _ = frame.f_locals  # a copy of the locals, which pytest has looked at: now it is empty
        error = error.__context__


def _descriptors() -> set[str]:
    return set(os.listdir("/proc/self/fd"))  # noqa: PTH208
