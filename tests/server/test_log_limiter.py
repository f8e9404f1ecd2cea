"""Lines that peers cause: one a second of each kind, with a count."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from epollo.engine import EventLoop, new_loop
from epollo.server.log_limiter import LogLimiter, kind_of
from tests.logs import Log


class Clock:
    now = 100.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("time.monotonic", lambda: clock.now)
    return clock


@pytest.fixture
def python_loop(clock: Clock) -> Iterator[EventLoop]:  # which asks for the time when it is made
    loop = new_loop("python")
    yield loop
    loop.close()


@pytest.fixture
def limiter(python_loop: EventLoop) -> LogLimiter:
    limiter = LogLimiter()
    limiter.begin(python_loop)
    return limiter


def log_some(limiter: LogLimiter, kind: str, *numbers: int) -> None:
    for number in numbers:
        limiter.log(kind, logging.WARNING, "%s %d", kind, number)


def test_the_first_line_is_logged_and_the_others_are_counted(
    limiter: LogLimiter, python_loop: EventLoop, clock: Clock, log: Log
) -> None:
    log_some(limiter, "a", 1, 2, 3)
    log_some(limiter, "b", 1)
    assert log.take() == ["a 1", "b 1"]
    clock.now += 1
    python_loop.poll(0)
    assert log.take() == ["a 3 (and 1 more like this)"]
    log_some(limiter, "a", 4)
    log_some(limiter, "b", 2)
    assert log.take() == ["b 2"], "the line with the count is the one of its second"
    clock.now += 1
    python_loop.poll(0)
    assert log.take() == ["a 4"]
    clock.now += 1
    python_loop.poll(0)
    log_some(limiter, "a", 5)
    assert log.take() == ["a 5"]


def test_what_is_held_back_is_logged_before_the_end(
    limiter: LogLimiter, clock: Clock, log: Log
) -> None:
    log_some(limiter, "a", 1, 2, 3)
    limiter.end()
    assert log.take() == ["a 1", "a 3 (and 1 more like this)"]
    log_some(limiter, "a", 4, 5)
    assert log.take() == ["a 4", "a 5"], "without a loop nothing is held back"


def test_kinds_that_peers_make_up_take_no_memory(
    limiter: LogLimiter, clock: Clock, log: Log
) -> None:
    for number in range(1000):
        log_some(limiter, str(number), 0)
    assert len(limiter._held) <= 257
    assert len(log.take()) <= 257


def test_debug_lines_are_logged_each(limiter: LogLimiter, clock: Clock) -> None:
    lines, logger = Log(logging.DEBUG), logging.getLogger("epollo.server")
    before = logger.level
    logger.addHandler(lines)
    logger.setLevel(logging.DEBUG)
    try:
        for number in range(3):
            limiter.log("a", logging.DEBUG, "debug %d", number)
    finally:
        logger.setLevel(before)
        logger.removeHandler(lines)
    assert lines.take() == ["debug 0", "debug 1", "debug 2"]


def test_errors_of_one_kind_are_raised_in_one_place() -> None:
    def error_of(number: int) -> BaseException:
        try:
            if number:
                raise ValueError(number)
            raise ValueError(number)
        except ValueError as error:
            return error

    assert kind_of(error_of(1)) == kind_of(error_of(2))
    assert kind_of(error_of(0)) != kind_of(error_of(1))
    assert kind_of(ValueError()) != kind_of(None)
