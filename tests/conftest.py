"""Fixtures that every test has: the engine it runs on, and the checks that it leaves nothing."""

from __future__ import annotations

import gc
import logging
import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from epollo.engine import EventLoop
from epollo.engine.connection import BaseConnection
from epollo.server.timeouts import TimeoutSweeper
from tests.certificates import Files
from tests.clock import Clock
from tests.engines import ENGINES, Engine, live_native_objects
from tests.logs import Log
from tests.other_loops import Run, runner
from tests.support import DEADLINE, Recorder

# A machine that has other things to do makes no example of hypothesis wrong.
settings.register_profile(
    "any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("any machine")


# A program in the background of a shell without job control ignores SIGINT, as would all servers
# that the tests start (sh(1), "Asynchronous Lists"; signals that are ignored stay so over execve).
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(params=ENGINES, ids=str)
def engine(request: pytest.FixtureRequest) -> Engine:
    """Both engines, each on its best poller; `tests.engines.every_poller` is for what pollers do
    differently."""
    assert isinstance(request.param, Engine)
    return request.param


@pytest.fixture
def loop(engine: Engine) -> Iterator[EventLoop]:
    loop = engine.loop()
    yield loop
    loop.close()


@pytest.fixture(scope="module", params=["asyncio", "uvloop"])
def loop_name(request: pytest.FixtureRequest) -> str:
    """Another event loop's name, after its first loop: libuv keeps two descriptors of that one."""
    pytest.importorskip(request.param).new_event_loop().close()
    return str(request.param)


@pytest.fixture
def run(loop_name: str) -> Run:
    """Runs a coroutine on such a loop, and checks what it leaves."""
    return runner(loop_name)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    """The deadlines of servers come when the test says so."""
    clock = Clock()
    monkeypatch.setattr(TimeoutSweeper, "_wait", lambda sweeper: clock.keep(sweeper))
    yield clock
    clock.stop()


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    """A handler whose connections are let go with the test: pytest holds a fixture for longer."""
    recorder = Recorder()
    yield recorder
    recorder.opened.queue.clear()


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """An authority of the module's own, and a server's certificate."""
    return Files(tmp_path_factory.mktemp("tls"))


@pytest.fixture(autouse=True)
def log() -> Iterator[Log]:
    """Fails a test that leaves an unexpected line in the log, or changes what is logged."""
    handler = Log()
    logger = logging.getLogger("epollo")
    levels = _levels()
    logger.addHandler(handler)
    yield handler
    logger.removeHandler(handler)
    assert handler.take() == []
    assert _levels() == levels


def _levels() -> list[int]:
    """Of the loggers that epollo's lines go through."""
    names = ("", "epollo", "epollo.server", "epollo.engine", "epollo.access", "epollo.supervisor")
    return [logging.getLogger(name).level for name in names]


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
    assert [thing for thing in gc.get_objects() if isinstance(thing, BaseConnection)] == []
    assert live_native_objects() == {}


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
