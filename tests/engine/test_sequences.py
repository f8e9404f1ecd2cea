"""Every short sequence of events on a connection, and random walks, come to what is promised.

`fuzz/sequences.py` plays them, `fuzz/model.py` says what is promised. Here is the everyday share;
`make sequences` has more. The bugs that are planted here are what the net has to find.
"""

from __future__ import annotations

import importlib
import re
import select
import shlex
from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias

import pytest

from epollo import CloseReason, Connection
from epollo.engine import EventLoop, Limits, Timer, available
from epollo.filters.tls import TLS
from epollo.framing import parse
from epollo.server.application_protocol import ApplicationProtocol
from fuzz import sequences
from fuzz.checker import Checker
from fuzz.events import (
    ALL,
    USUAL,
    Event,
    Setting,
    ended,
    parse_setting,
    parse_steps,
    show,
)
from fuzz.model import NO_FAULTS, Expected, expect
from fuzz.sequences import Batch, Walks, everyday
from fuzz.sockets import tcp_pair, unread
from tests.support import until

ENGINES = sorted(available())
TCP, UNIX = Setting(tcp=True), Setting()


@pytest.mark.parametrize("first", ALL, ids=str)
def test_every_sequence_of_up_to_three_events_comes_to_what_is_promised(first: Event) -> None:
    for batch in everyday(first):
        found = batch.run()
        assert found.wrong == []
        assert found.ends.total() == len(list(batch.steps()))


@pytest.mark.parametrize("start", range(0, 100, 25))
def test_walks_by_seed_come_to_what_is_promised(start: int) -> None:
    assert Walks(range(start, start + 25)).run().wrong == []


def test_they_are_all_there_are_over_tcp_and_over_tls() -> None:
    over_tcp, over_tls = (
        sorted(
            show(steps)
            for first in USUAL
            for batch in everyday(first)
            if batch.setting.tls is tls and batch.events == USUAL and batch.settle
            for steps in batch.steps()
        )
        for tls in (False, True)
    )
    assert len(set(over_tcp)) == 13 + 13**2 + 13**3
    assert over_tls == over_tcp


def test_they_end_for_all_reasons_that_are_no_deadlines() -> None:
    reasons = {
        reason
        for first in USUAL
        for steps in Batch(TCP, first, 2).steps()
        for reason in expect(TCP, ended(steps)).reasons
    }
    faults = {CloseReason.TRUNCATED, CloseReason.FRAME_TOO_LARGE, CloseReason.HANDLER_ERROR}
    assert reasons == NO_FAULTS | faults | {CloseReason.RESET}


# What is promised, in examples. The sequences are brought to an end by: free resume half-close.


def promised(text: str, setting: Setting = TCP) -> Expected:
    return expect(setting, ended(parse_steps(text)))


def ends(text: str, setting: Setting = TCP) -> tuple[int, set[str]]:
    """How many messages are delivered, and the reasons there may be."""
    expected = promised(text, setting)
    return len(expected.messages), {str(reason) for reason in expected.reasons}


@pytest.mark.parametrize(
    ("text", "delivered", "reasons"),
    [
        ("frame frame", 2, {"eof"}),
        ("part frame", 2, {"eof"}),  # it completes the one that was begun
        ("part", 0, {"truncated"}),
        ("frame bad frame", 1, {"frame_too_large"}),
        ("frame raise frame", 2, {"handler_error"}),
        ("pause frame", 1, {"eof"}),
        ("pause frame close", 0, {"local"}),
        ("full frame half-close", 1, {"eof"}),
        ("full frame stop", 1, {"shutdown"}),
        ("pause frame stop", 0, {"shutdown"}),
        ("frame stop frame", 1, {"shutdown"}),
        ("full half-close close", 0, {"local"}),
        ("full half-close stop", 0, {"eof", "shutdown"}),
        ("stop abort", 0, {"shutdown", "local"}),  # over TCP, it may linger
        ("frame reset", 1, {"reset"}),
        ("frame+ reset", 0, {"reset"}),  # and maybe one
        ("frame+ half-close+ reset", 0, {"reset", "eof"}),
        ("close reset", 0, {"local"}),
        ("full close reset", 0, {"reset"}),
        ("defer close answer", 1, {"local"}),
        ("late frame", 2, {"eof"}),
    ],
)
def test_what_is_promised_in_examples(text: str, delivered: int, reasons: set[str]) -> None:
    assert ends(text) == (delivered, reasons)


def test_replies_are_cut_by_an_abort_and_a_reset_only() -> None:
    assert promised("full frame close").complete
    assert promised("frame abort").complete
    assert not promised("full frame abort").complete
    assert not promised("frame reset").complete


def test_the_end_comes_to_the_peer_as_soon_as_it_can() -> None:
    assert promised("frame half-close frame").ends_after == 1
    assert promised("full half-close frame free").ends_after == 3
    assert promised("pause half-close resume").ends_after == 2
    assert promised("frame reset").ends_after is None


# Bugs that are planted: one for each way to break a promise. The everyday share finds them all.


class Planted:
    """One engine, to be broken: its classes, and what the protocol hears of its connections."""

    def __init__(self, engine: str, patch: pytest.MonkeyPatch) -> None:
        self.engine = engine
        module = f"epollo.engine.{engine}"
        self.loop = importlib.import_module(f"{module}.loop").Loop
        self.connection = importlib.import_module(f"{module}.connection").Connection
        self._patch = patch

    def method(self, cls: Any, name: str, wrap: Callable[[Any], Any]) -> None:
        """Put ``wrap(method)`` in the place of the method."""
        self._patch.setattr(cls, name, wrap(getattr(cls, name)))

    def received(self, change: Callable[[Received, bytes, Connection], Any]) -> None:
        """Call ``change`` with each message, and with what was to receive it."""

        def wrap(found: property) -> property:
            def received(protocol: ApplicationProtocol) -> Received:
                receive = found.__get__(protocol)

                def changed(message: bytes, connection: Connection) -> Any:
                    if isinstance(connection, self.connection):
                        return change(receive, message, connection)
                    return receive(message, connection)

                return changed

            return property(received)

        self._patch.setattr(
            ApplicationProtocol, "received", wrap(vars(ApplicationProtocol)["received"])
        )

    def told(self, name: str, change: Callable[..., None]) -> None:
        """Call ``change`` with the method of that name, and with what it was to be called with."""

        def wrap(tell: Callable[..., None]) -> Callable[..., None]:
            def changed(
                protocol: ApplicationProtocol, connection: Connection, *reason: CloseReason
            ) -> None:
                if isinstance(connection, self.connection):
                    change(partial(tell, protocol), connection, *reason)
                else:
                    tell(protocol, connection, *reason)

            return changed

        self.method(ApplicationProtocol, name, wrap)


Received: TypeAlias = Callable[[bytes, Connection], Any]
Plant: TypeAlias = Callable[[Planted], None]


@pytest.fixture(params=ENGINES)
def planted(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Planted:
    return Planted(request.param, monkeypatch)


def lose_a_message_after_resume(planted: Planted) -> None:
    resumed: list[Connection] = []

    def wrap(resume: Callable[[Connection], None]) -> Callable[[Connection], None]:
        def resume_and_lose(connection: Connection) -> None:
            resumed[:] = [connection]
            resume(connection)

        return resume_and_lose

    def lose(receive: Received, message: bytes, connection: Connection) -> Any:
        if connection in resumed:
            resumed.clear()
            return None
        return receive(message, connection)

    planted.method(planted.connection, "resume_reading", wrap)
    planted.received(lose)


def deliver_twice(planted: Planted) -> None:
    def twice(receive: Received, message: bytes, connection: Connection) -> Any:
        return [receive(message, connection), receive(message, connection)]

    planted.received(twice)


def deliver_out_of_order(planted: Planted) -> None:
    waiting: list[bytes] = []

    def swap(receive: Received, message: bytes, connection: Connection) -> Any:
        if not waiting:
            waiting.append(message)
            return None
        return [receive(message, connection), receive(waiting.pop(), connection)]

    planted.received(swap)


def cut_a_message(planted: Planted) -> None:
    planted.received(lambda receive, message, connection: receive(message[:-1], connection))


def nothing(_: Connection) -> None:
    pass


def deliver_while_paused(planted: Planted) -> None:
    planted.method(planted.connection, "pause_reading", lambda _: nothing)


def never_resume(planted: Planted) -> None:
    planted.method(planted.connection, "resume_reading", lambda _: nothing)


def reply_twice(planted: Planted) -> None:
    planted.received(lambda receive, *what: [receive(*what)] * 2)


def cut_a_reply(planted: Planted) -> None:
    planted.received(lambda receive, *what: receive(*what)[:-1])


def die_with_a_reset(planted: Planted) -> None:
    seen: list[CloseReason] = []

    def see(tell: Callable[..., None], connection: Connection, reason: CloseReason) -> None:
        seen.append(reason)
        tell(connection, reason)

    def wrap(poll: Callable[..., int]) -> Callable[..., int]:
        def poll_and_die(loop: EventLoop, timeout: float | None = None) -> int:
            if CloseReason.RESET in seen:
                raise ConnectionResetError
            return poll(loop, timeout)

        return poll_and_die

    planted.told("closed", see)
    planted.method(planted.loop, "poll", wrap)


def close_the_others_too(planted: Planted) -> None:
    connections: list[Connection] = []

    def add(tell: Callable[..., None], connection: Connection) -> None:
        connections.append(connection)
        tell(connection)

    def close(tell: Callable[..., None], connection: Connection, reason: CloseReason) -> None:
        tell(connection, reason)
        for other in connections:
            other.abort()
        connections.clear()

    planted.told("connected", add)
    planted.told("closed", close)


def raise_when_closed(planted: Planted) -> None:
    def fail(tell: Callable[..., None], connection: Connection, reason: CloseReason) -> None:
        tell(connection, reason)
        raise LookupError(reason)

    planted.told("closed", fail)


def disconnect_twice(planted: Planted) -> None:
    def twice(tell: Callable[..., None], *what: Any) -> None:
        tell(*what)
        tell(*what)

    planted.told("closed", twice)


def never_disconnect(planted: Planted) -> None:
    def forget(tell: Callable[..., None], connection: Connection, reason: CloseReason) -> None:
        if reason is not CloseReason.LOCAL:
            tell(connection, reason)

    planted.told("closed", forget)


def connect_twice(planted: Planted) -> None:
    def twice(tell: Callable[..., None], connection: Connection) -> None:
        tell(connection)
        tell(connection)

    planted.told("connected", twice)


def take_a_cut_stream_for_a_whole_one(planted: Planted) -> None:
    def tell_eof(tell: Callable[..., None], connection: Connection, reason: CloseReason) -> None:
        tell(connection, CloseReason.EOF if reason is CloseReason.TRUNCATED else reason)

    planted.told("closed", tell_eof)


def drop_replies_after_half_close(planted: Planted) -> None:
    def drop(receive: Received, message: bytes, connection: Any) -> Any:
        reply = receive(message, connection)
        poll = select.poll()
        poll.register(connection.fd, select.POLLRDHUP)
        return None if poll.poll(0) else reply

    planted.received(drop)


def close_without_sending(planted: Planted) -> None:
    planted.method(planted.connection, "close", lambda _: planted.connection.abort)


def stop_without_sending(planted: Planted) -> None:
    def wrap(_: Any) -> Callable[[Connection], None]:
        return lambda connection: connection.abort(CloseReason.SHUTDOWN)

    planted.method(planted.connection, "drain", wrap)


def never_rest(planted: Planted) -> None:
    def wrap(poll: Callable[..., int]) -> Callable[..., int]:
        return lambda loop, timeout=None: poll(loop, timeout) + 1

    planted.method(planted.loop, "poll", wrap)


def tell_another_error(planted: Planted) -> None:
    def change(tell: Callable[..., None], connection: Any, reason: CloseReason) -> None:
        if reason is CloseReason.FRAME_TOO_LARGE:
            connection.error = ValueError("too large")
        tell(connection, reason)

    planted.told("closed", change)


PLANTS: list[tuple[Plant, Event, str]] = [
    (lose_a_message_after_resume, Event.RESUME, "messages"),
    (deliver_twice, Event.FRAME, "messages"),
    (deliver_out_of_order, Event.FRAME, "messages"),
    (cut_a_message, Event.PART, "messages"),
    (deliver_while_paused, Event.PAUSE, "messages"),
    (never_resume, Event.PAUSE, "messages"),
    (reply_twice, Event.FRAME, "messages"),
    (cut_a_reply, Event.FRAME, "messages"),
    (disconnect_twice, Event.PART, "disconnected"),
    (never_disconnect, Event.CLOSE, "disconnected"),
    (connect_twice, Event.PART, "disconnected"),
    (take_a_cut_stream_for_a_whole_one, Event.PART, "disconnected"),
    (drop_replies_after_half_close, Event.PAUSE, "replies"),
    (close_without_sending, Event.FULL, "replies"),
    (stop_without_sending, Event.FULL, "replies"),
    (die_with_a_reset, Event.RESET, "others"),
    (close_the_others_too, Event.PART, "others"),
    (raise_when_closed, Event.PART, "others"),
    (never_rest, Event.PART, "rest"),
]


def failure(first: Event) -> str:
    """The first that the everyday share finds among those that begin with ``first``."""
    for batch in everyday(first):
        for text in batch.run(most=1).wrong:
            return text
    raise AssertionError("what was planted is not found")


@pytest.mark.parametrize(("plant", "first", "promise"), PLANTS)
def test_a_planted_bug_is_found(planted: Planted, plant: Plant, first: Event, promise: str) -> None:
    plant(planted)
    text = failure(first)
    assert f"  {planted.engine}: {promise}: " in text
    assert set(re.findall(r"^  (python|native): ", text, re.MULTILINE)) == {planted.engine}


def test_a_tls_stream_that_ends_without_close_notify_is_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(TLS, "close", lambda _: b"")
    assert "replies: the peer got no end of the stream, but " in failure(Event.FRAME)


@pytest.mark.skipif(len(ENGINES) < 2, reason="the native engine is not built")
def test_a_difference_that_the_specification_leaves_open_is_found(planted: Planted) -> None:
    tell_another_error(planted)
    assert "  engines: they differ in error: " in failure(Event.BAD)


def test_a_failure_is_told_with_the_command_that_replays_it(
    planted: Planted, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    disconnect_twice(planted)
    for arguments in (["--length", "1", "--over", "plain-unix"], ["--walks", "1"]):
        assert sequences.main([*arguments, "--jobs", "1"]) == 1
        told = capsys.readouterr().err
        command = re.findall(r"replay: python -m fuzz.sequences (.*)", told)[0]
        assert sequences.main(shlex.split(command)) == 1
        assert told.split("  replay:")[0] in capsys.readouterr().err
    monkeypatch.undo()
    assert sequences.main(shlex.split(command)) == 0
    assert "0 not as promised" in capsys.readouterr().out


# What the net has found, in the smallest form, before it was mended.


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("text", "over"),
    [
        ("full stop pause", "plain-unix"),  # a stop that waits does not wait to be resumed
        ("full defer stop", "plain-unix"),  # nor does it keep the loop awake
        ("defer half-close close", "plain-unix,u32,40,both,2"),  # close() drops no reply
        ("defer+ half-close close", "tls-unix"),
        ("late+ half-close", "tls-unix"),  # a TLS stream's end closes no paused connection
        ("part half-close", "tls-unix,u32,40,cut"),  # a cut TLS record is no end of a stream
    ],
)
def test_what_was_found_once_stays_mended(engine: str, text: str, over: str) -> None:
    with Checker(parse_setting(over), [engine]) as checker:
        checker.check(parse_steps(text))


class Quiet:
    """A protocol whose connections are paused."""

    framing = parse("u32")
    limits = Limits()

    def connected(self, connection: Connection) -> None:
        connection.pause_reading()

    def received(self, message: bytes, connection: Connection) -> None:
        raise AssertionError("it is paused")

    def closed(self, connection: Connection, reason: CloseReason) -> None:
        pass


def test_a_connection_that_is_aborted_while_it_lingers_leaves_no_timer(
    loop: EventLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two seconds later it would ask a closed socket what is unacknowledged."""
    timers: list[Timer] = []
    call_later = loop.call_later

    def keep(seconds: float, callback: Callable[[], object]) -> Timer:
        timers.append(call_later(seconds, callback))
        return timers[-1]

    monkeypatch.setattr(loop, "call_later", keep)
    theirs, ours = tcp_pair()
    with theirs:
        fd = ours.fileno()
        connection = loop.attach(ours, Quiet())
        theirs.send(b"unread")
        until(lambda: unread(fd))
        connection.close()
        loop.poll(0)
        connection.abort()
        loop.poll(0)
    cancelled = [timer.cancelled for timer in timers]
    timers.clear()
    del connection  # or a failure would hold it
    assert cancelled == [True]
