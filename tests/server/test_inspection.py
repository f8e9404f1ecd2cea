"""What a process says about itself, and does on request: exact, and alike on both engines."""

from __future__ import annotations

import asyncio
import logging
import math
import queue
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import permutations
from types import SimpleNamespace
from typing import Any

import pytest

import epollo
from epollo import Connection, Server
from epollo.control import steps
from epollo.control.totals import total
from epollo.engine.durations import BOUNDS
from epollo.server import figures, inspection
from epollo.server.figures import WINDOW, CallTimes, LongestTurn
from epollo.server.inspection import ROWS, Inspection, OwnInquiry
from tests.certificates import Files
from tests.engines import Engine
from tests.support import DEADLINE, Peer, Recorder, frame, until


def ask(server: Server, question: str, **arguments: Any) -> Any:
    """In the loop's thread, as the channel to the supervisor asks; or once the server has ended."""
    loop, answers = server._loop, queue.Queue[Any]()
    if loop is None:
        return server._inspection.answer(question, **arguments)
    loop.call_threadsafe(lambda: answers.put(server._inspection.answer(question, **arguments)))
    return answers.get(timeout=DEADLINE)


def counting(engine: Engine, handler: Any, **settings: Any) -> Server:
    return engine.server(handler, access_log="log", **settings)


def traffic(server: Server) -> tuple[int, int, int, int]:
    values = ask(server, "figures")
    names = ("messages_in", "messages_out", "bytes_in", "bytes_out")
    return tuple(values[name] for name in names)


def slow(message: bytes) -> bytes:
    """Takes 30 ms for the message ``slow``."""
    if message == b"slow":
        time.sleep(0.03)
    return message


async def slow_async(message: bytes) -> bytes:
    """The same in a coroutine."""
    if message == b"slow":
        await asyncio.sleep(0.03)
    return message


WAYS: dict[str, Any] = {
    "inline": (slow, {}),
    "async": (slow_async, {"loop": "asyncio"}),
    "threads": (slow, {"threads": 2}),
}


@pytest.fixture(params=WAYS)
def served(engine: Engine, request: pytest.FixtureRequest) -> Iterator[Server]:
    """A server for each way to call a handler."""
    handler, settings = WAYS[request.param]
    with counting(engine, handler, **settings) as server:
        yield server


def test_what_peers_sent_and_received_is_counted_to_the_message(served: Server) -> None:
    """Of closed and of open connections together, during the server's life and after it."""
    with Peer(served.addresses[0]) as open_one:
        for count in (1, 20, 300):
            with Peer(served.addresses[0]) as peer:
                peer.send(frame(b"m") * count)
                assert peer.receive(5 * count) == frame(b"m") * count
                peer.end()
                assert peer.receive_all() == b""
        assert open_one.ask(b"open") == b"open"
        expected = (322, 322, 321 * 5 + 8, 321 * 5 + 8)
        until(lambda: traffic(served) == expected)
        values = ask(served, "figures")
        assert sum(values["handler_seconds"]["counts"]) == 322
        assert values["in_flight"] == values["unsent"] == values["buffered"] == 0
    until(lambda: ask(served, "figures")["connections"]["closed"]["eof"] == 4)
    connections = ask(served, "figures")["connections"]
    assert (connections["accepted"], connections["open"]) == (4, 0)
    served.stop()
    until(lambda: served._loop is None)
    assert traffic(served) == expected, "after the end"


def test_calls_are_timed(served: Server) -> None:
    with Peer(served.addresses[0]) as peer:
        for _ in range(3):
            assert peer.ask(b"slow") == b"slow"
        assert peer.ask(b"fast") == b"fast"
        until(lambda: sum(ask(served, "figures")["handler_seconds"]["counts"]) == 4)
    times = ask(served, "figures")["handler_seconds"]
    assert times["bounds"] == sorted(BOUNDS)
    assert len(times["counts"]) == len(BOUNDS) + 1
    assert sum(times["counts"][BOUNDS.index(0.025) + 1 :]) >= 3
    assert times["sum"] >= 0.09


def test_turns_are_timed_without_their_waits(engine: Engine) -> None:
    with counting(engine, slow) as server, Peer(server.addresses[0]) as peer:
        before = ask(server, "figures")["turn_seconds"]
        time.sleep(0.2)
        assert peer.ask(b"slow") == b"slow"
        after = ask(server, "figures")["turn_seconds"]
    assert sum(after["counts"]) >= sum(before["counts"]) + 1
    assert sum(after["counts"][BOUNDS.index(0.025) + 1 :]) >= 1
    assert after["sum"] - before["sum"] >= 0.03


def test_messages_of_one_read_count_with_their_mean(engine: Engine) -> None:
    with counting(engine, slow) as server, Peer(server.addresses[0]) as peer:
        peer.send(frame(b"slow") + frame(b"m") * 3)
        assert peer.receive(8 + 15) == frame(b"slow") + frame(b"m") * 3
        until(lambda: sum(ask(server, "figures")["handler_seconds"]["counts"]) == 4)
        counts = ask(server, "figures")["handler_seconds"]["counts"]
    assert sum(counts[BOUNDS.index(0.005) + 1 :]) == 4, "each at least 30 ms / 4"


def test_what_was_received_does_not_fall(engine: Engine, log: Any) -> None:
    """Though messages that were held back are not counted if nobody gets them after all."""

    class Raising(Recorder):
        def received(self, message: bytes, connection: Connection) -> None:
            if message == b"raise":
                raise LookupError
            connection.pause_reading()

    handler = Raising()
    with counting(engine, handler) as server:
        with Peer(server.addresses[0]) as peer:
            connection: Any = handler.connection()
            peer.send(frame(b"pause") + frame(b"raise") + frame(b"m") * 3)
            until(lambda: connection.messages_in == 5)
            before = ask(server, "figures")
            connection.resume_reading()
            assert peer.receive_until_gone() == b""
        until(lambda: not server.counters.open)
        assert connection.messages_in == 2
        after = ask(server, "figures")
    assert before["messages_in"] == after["messages_in"] == 5
    assert sum(before["handler_seconds"]["counts"]) == 1
    assert sum(after["handler_seconds"]["counts"]) == 2
    log.take()


def test_sums_of_seconds_are_the_same_in_any_order() -> None:
    """A scraper must not see one fall when a process ends, and is added up before the others."""
    told = []
    for seconds in (0.1, 0.2, 0.3):
        times = CallTimes()
        told.append({"handler_seconds": times.read(0, seconds)})
    sums = {total(*order)["handler_seconds"]["sum"] for order in permutations(told)}
    assert len(sums) == 1
    assert sums.pop() == pytest.approx(0.6, abs=1e-5)


def test_an_event_without_messages_moves_none_to_another_bucket(engine: Engine) -> None:
    """A drained connection whose peer leaves, after messages of another one."""
    handler = Recorder()
    with counting(engine, handler) as server, Peer(server.addresses[0]) as other:
        loop: Any = server._loop
        tell = loop.on_slow
        handler.connection()

        def tell_after(seconds: float) -> None:
            """From now on, an event that takes longer is told, as one of 30 ms."""
            loop.on_slow = lambda connection, _: tell(connection, 0.03)
            loop.slow_after, loop.crossing_seconds = seconds, DEADLINE

        loop.call_threadsafe(lambda: tell_after(DEADLINE))
        with Peer(server.addresses[0]) as peer:
            connection: Any = handler.connection()
            connection.drain()
            assert peer.receive_all() == b""
            for _ in range(5):
                assert other.ask(b"m") == b"m"
            loop.call_threadsafe(lambda: tell_after(-1.0))
            before = ask(server, "figures")["handler_seconds"]["counts"]
        until(lambda: connection.closed)
        after = ask(server, "figures")["handler_seconds"]["counts"]
    assert after == before
    assert sum(after) == after[0] == 5


def test_messages_that_are_held_back_are_timed_when_they_are_delivered(engine: Engine) -> None:
    class Pausing(Recorder):
        def received(self, message: bytes, connection: Connection) -> bytes:
            if message == b"pause":
                connection.pause_reading()
            return slow(message)

    handler = Pausing()
    with counting(engine, handler) as server, Peer(server.addresses[0]) as peer:
        connection = handler.connection()
        peer.send(frame(b"pause") + frame(b"slow"))
        assert peer.message() == b"pause"
        values = ask(server, "figures")
        assert values["messages_in"] == 2
        assert sum(values["handler_seconds"]["counts"]) == 1
        assert values["paused"]["user"] == 1
        (shown,) = ask(server, "connections")["connections"]
        assert shown["paused"] == ["user"]
        assert shown["buffered"] >= 4  # the message, and the read that it came with
        connection.resume_reading()
        assert peer.message() == b"slow"
        until(lambda: sum(ask(server, "figures")["handler_seconds"]["counts"]) == 2)
        counts = ask(server, "figures")["handler_seconds"]["counts"]
        assert sum(counts[BOUNDS.index(0.025) + 1 :]) == 1


def test_slow_handlers_are_counted(engine: Engine, log: Any) -> None:
    with counting(engine, slow, slow_handler=0.01) as server, Peer(server.addresses[0]) as peer:
        assert peer.ask(b"slow") == b"slow"
        until(lambda: ask(server, "figures")["slow_handlers"] == 1)
    log.take()


def test_messages_behind_the_end_are_not_counted(engine: Engine, log: Any) -> None:
    class Ending(Recorder):
        def received(self, message: bytes, connection: Connection) -> Any:
            if message == b"raise":
                raise LookupError
            if message == b"close":
                connection.close()
            return message

    with counting(engine, Ending()) as server:
        for end in (b"raise", b"close"):
            with Peer(server.addresses[0]) as peer:
                peer.send(frame(b"a") + frame(end) + frame(b"b") * 3)
                peer.receive_until_gone()
        until(lambda: not server.counters.open)
        assert traffic(server)[0] == 4
        assert sum(ask(server, "figures")["handler_seconds"]["counts"]) == 4
    log.take()


def test_published_messages_are_counted_for_each_member(engine: Engine) -> None:
    class Joining(Recorder):
        def connected(self, connection: Connection) -> None:
            connection.join("room")
            super().connected(connection)

    handler = Joining()
    with (
        counting(engine, handler) as server,
        Peer(server.addresses[0]) as one,
        Peer(server.addresses[0]) as other,
    ):
        for _ in (one, other):
            handler.connection()
        for _ in range(50):
            server.publish("room", b"m")
        for peer in (one, other):
            assert peer.receive(250) == frame(b"m") * 50
        until(lambda: traffic(server) == (0, 100, 0, 500))
        shown = ask(server, "connections")["connections"]
        assert [each["groups"] for each in shown] == [1, 1]
        assert [each["messages_out"] for each in shown] == [50, 50]


def test_with_tls_messages_are_counted_and_newcomers_are_shown(
    engine: Engine, files: Files
) -> None:
    with counting(engine, Recorder(), tls_cert=files.cert, tls_key=files.key) as server:
        context = epollo.tls.client_context(ca=files.ca)
        with Peer(server.addresses[0]) as silent:
            until(lambda: ask(server, "connections")["total"] == 1)
            (shown,) = ask(server, "connections")["connections"]
            assert (shown["state"], shown["tls"]) == ("handshaking", False)
            with epollo.connect(server.addresses[0], framing="u32", tls=context) as client:
                assert [client.request(b"x") for _ in range(10)] == [b"x"] * 10
                until(lambda: traffic(server)[:2] == (10, 10))
                first, _ = ask(server, "connections", sort="messages_in")["connections"]
                assert (first["state"], first["tls"], first["messages_in"]) == ("open", True, 10)
            silent.end()


def test_connections_are_sorted_and_limited(engine: Engine) -> None:
    with counting(engine, Recorder()) as server:
        peers = [Peer(server.addresses[0]) for _ in range(5)]
        for number, peer in enumerate(peers):
            for _ in range(number + 1):
                assert peer.ask(b"m") == b"m"
        answer = ask(server, "connections", sort="messages_in", limit=2)
        assert answer["total"] == 5
        assert [each["messages_in"] for each in answer["connections"]] == [5, 4]
        oldest = ask(server, "connections", sort="seconds", limit=1)["connections"][0]
        assert oldest["messages_in"] == 1
        (one,) = ask(server, "connections", connection=oldest["id"])["connections"]
        assert one["id"] == oldest["id"]
        assert ask(server, "connections", connection=10**9)["connections"] == []
        for key in oldest:
            if isinstance(oldest[key], int | float) and key != "tls":
                assert len(ask(server, "connections", sort=key)["connections"]) == 5
        for peer in peers:
            peer.close()


def test_the_unsent_bytes_of_a_slow_consumer_are_shown_and_then_dropped(engine: Engine) -> None:
    class Large(Recorder):
        def received(self, message: bytes, connection: Connection) -> bytes:
            return bytes(8 << 20)

    settings: Any = {"max_frame": "16MiB"}
    with (
        counting(engine, Large(), **settings) as server,
        Peer(server.addresses[0], 1 << 12) as peer,
    ):
        peer.send(frame(b"m"))
        until(lambda: ask(server, "figures")["unsent"])
        (shown,) = ask(server, "connections")["connections"]
        assert shown["unsent"] == ask(server, "figures")["unsent"] == shown["buffered"]
        assert shown["paused"] == ["high_water"]
        assert ask(server, "close", connection=shown["id"], abort=True) == {"closed": True}
        until(lambda: ask(server, "closed")["total"])
        (closed,) = ask(server, "closed")["closed"]
        assert closed["unsent"] == shown["unsent"]
        assert closed["unsent"] + closed["bytes_out"] == (8 << 20) + 4
        assert (closed["id"], closed["reason"], closed["error"]) == (shown["id"], "local", "")
        assert not server._loop.dropped  # type: ignore[union-attr]


def test_connections_are_closed_by_number_and_by_peer(engine: Engine) -> None:
    with counting(engine, Recorder()) as server:
        with Peer(server.addresses[0]) as one, Peer(server.addresses[0]) as other:
            for peer in (one, other):
                assert peer.ask(b"m") == b"m"
            first = ask(server, "connections", sort="id")["connections"][1]
            assert ask(server, "close", connection=first["id"]) == {"closed": True}
            assert one.receive_all() == b""
            until(lambda: ask(server, "close", connection=first["id"]) == {"closed": False})
            assert ask(server, "close", peer="192.0.2.1") == {"closed": 0}
            assert ask(server, "close", peer="127.0.0.1") == {"closed": 1}
            assert other.receive_all() == b""
        until(lambda: ask(server, "closed")["total"] == 2)
        newest, oldest = ask(server, "closed", reason="local")["closed"]
        assert oldest["peer"] == first["peer"]
        assert newest["at"] >= oldest["at"]
        assert ask(server, "closed", peer=first["peer"])["closed"] == [oldest]
        assert ask(server, "closed", reason="eof")["closed"] == []
        assert len(ask(server, "closed", limit=1)["closed"]) == 1


def test_the_error_of_a_closed_connection_is_told(engine: Engine, log: Any) -> None:
    with counting(engine, Recorder()) as server, Peer(server.addresses[0]) as peer:
        peer.send(b"\xff" * 4)
        assert peer.receive_all() == b""
        until(lambda: ask(server, "closed")["total"])
        (closed,) = ask(server, "closed")["closed"]
        assert closed["reason"] == "frame_too_large"
        assert "is over max_frame" in closed["error"]
    log.take()


def test_the_log_level_is_set_and_told(engine: Engine) -> None:
    logger, of_application = logging.getLogger("epollo.server"), logging.getLogger("tests.app")
    try:
        with engine.server(Recorder()) as server:
            assert ask(server, "log_level", level="debug", logger="epollo.server") == {
                "level": "debug"
            }
            assert logger.level == logging.DEBUG
            assert ask(server, "log_level", logger="epollo.server") == {"level": "debug"}
            assert ask(server, "log_level", level="error", logger="tests.app") == {"level": "error"}
            assert of_application.level == logging.ERROR
            root = logging.getLevelName(logging.root.level).lower()
            assert ask(server, "log_level", logger="root") == {"level": root}
    finally:
        logger.setLevel(logging.NOTSET)
        of_application.setLevel(logging.NOTSET)


@pytest.mark.parametrize(
    ("question", "arguments", "text"),
    [
        ("nonsense", {}, "no question 'nonsense'; there are figures, connections, closed, "),
        ("figures", {"more": 1}, "figures: got an unexpected keyword argument 'more'"),
        ("connections", {"sort": "size"}, "connections: cannot sort by 'size'; there are id, "),
        ("connections", {"sort": 7}, "connections: sort: 7 is not a text"),
        ("connections", {"limit": -1}, "connections: limit: -1 is not a number from 0 on"),
        ("closed", {"limit": "x"}, "closed: limit: 'x' is not a number from 0 on"),
        ("close", {}, "close: give the number of a connection, or a peer"),
        ("log_level", {"level": "loud"}, "log_level: 'loud' is no level; there are debug, "),
        ("log_level", {"level": "debg"}, "log_level: 'debg' is no level; did you mean debug?"),
        ("log_level", {"logger": "epolo"}, "log_level: no logger 'epolo'; did you mean epollo?"),
        ("log_level", {"logger": "7"}, "log_level: no logger '7'; name one of epollo or of the a"),
    ],
)
def test_a_wrong_question_has_an_answer_too(
    question: str, arguments: dict[str, Any], text: str
) -> None:
    with Server(bind="127.0.0.1:0") as server:
        assert ask(server, question, **arguments)["error"].startswith(text)


def test_nothing_is_counted_unless_asked_for(engine: Engine) -> None:
    with engine.server(Recorder()) as server, Peer(server.addresses[0]) as peer:
        assert peer.ask(b"m") == b"m"
        assert traffic(server) == (0, 0, 0, 0)
        assert sum(ask(server, "figures")["turn_seconds"]["counts"]) == 0
        peer.end()
        assert peer.receive_all() == b""
        until(lambda: not server.counters.open)
        assert ask(server, "closed") == {"total": 0, "closed": []}


def test_threads_that_send_are_counted(engine: Engine) -> None:
    handler = Recorder()
    with counting(engine, handler) as server, Peer(server.addresses[0]) as peer:
        connection = handler.connection()

        def send() -> None:
            for _ in range(100):
                connection.send(b"m")

        threads = [threading.Thread(target=send) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert peer.receive(1500) == frame(b"m") * 300
        until(lambda: traffic(server) == (0, 300, 0, 1500))


def test_a_long_list_takes_a_few_rows_of_each_turn(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many connections there are, a turn is not much longer."""
    monkeypatch.setattr(steps, "SECONDS", 0.0)
    described: list[int] = []
    describe = Inspection._describe
    count = 3 * ROWS + 1
    with counting(engine, Recorder()) as server, ExitStack() as stack:
        loop: Any = server._loop

        def note(self: Inspection, connection: Any) -> Any:
            described.append(loop.turn_count)
            return describe(self, connection)

        monkeypatch.setattr(Inspection, "_describe", note)
        peers = [stack.enter_context(Peer(server.addresses[0])) for _ in range(count)]
        assert peers[-1].ask(b"m") == b"m"
        until(lambda: server.counters.open == count)
        rows, answers = list[Any](), queue.Queue[Any]()
        loop.call_threadsafe(
            lambda: server._inspection.tell(
                "connections", rows.extend, answers.put, sort="id", limit=1000
            )
        )
        assert answers.get(timeout=DEADLINE) == {"total": count, "connections": []}
    assert [row["id"] for row in rows] == sorted((row["id"] for row in rows), reverse=True)
    assert len(rows) == count
    assert max(Counter(described).values()) == ROWS


def test_a_connection_that_ends_meanwhile_is_not_in_the_list(engine: Engine) -> None:
    with counting(engine, Recorder()) as server, ExitStack() as stack:
        for _ in range(2 * ROWS):
            stack.enter_context(Peer(server.addresses[0]))
        until(lambda: server.counters.open == 2 * ROWS)
        rows, answers = list[Any](), queue.Queue[Any]()

        def close_all(some: list[Any]) -> None:
            rows.extend(some)
            if some:
                for connection in server._loop.all_connections():  # type: ignore[union-attr]
                    connection.abort()

        server._loop.call_threadsafe(  # type: ignore[union-attr]
            lambda: server._inspection.tell("connections", close_all, answers.put)
        )
        assert answers.get(timeout=DEADLINE)["total"] == 2 * ROWS
    assert len(rows) == ROWS


def test_a_turn_looks_at_few_connections_for_the_figures(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(figures, "LOOKED_AT", 2)
    monkeypatch.setattr(steps, "SECONDS", 0.0)
    looked_at: list[tuple[int, int]] = []  # the turn, and how many sources
    count = 9
    with counting(engine, Recorder()) as server, ExitStack() as stack:
        loop: Any = server._loop
        survey = loop.survey

        def note(sources: list[Any], found: Any) -> None:
            looked_at.append((loop.turn_count, len(sources)))
            survey(sources, found)

        loop.survey = note
        for _ in range(count):
            assert stack.enter_context(Peer(server.addresses[0])).ask(b"m") == b"m"
        answers = queue.Queue[Any]()
        loop.call_threadsafe(
            lambda: server._inspection.tell("figures", lambda _: None, answers.put)
        )
        assert answers.get(timeout=DEADLINE)["messages_in"] == count
    assert max(number for _, number in looked_at) == 2
    assert max(Counter(turn for turn, _ in looked_at).values()) == 1
    assert sum(number for _, number in looked_at) >= count


def test_many_questions_make_no_turn_longer(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their answers are made in turns, so those to the same question have the order of asking."""
    monkeypatch.setattr(steps, "SECONDS", 0.0)
    monkeypatch.setattr(figures, "LOOKED_AT", 1)
    pieces: list[int] = []
    with counting(engine, Recorder()) as server, ExitStack() as stack:
        loop: Any = server._loop
        for _ in range(3):
            assert stack.enter_context(Peer(server.addresses[0])).ask(b"m") == b"m"
        answers = queue.Queue[Any]()

        def note(_: object) -> None:
            pieces.append(loop.turn_count)

        def ask_all() -> None:
            for _ in range(2):
                server._inspection.tell("figures", note, answers.put)
                server._inspection.tell("connections", note, answers.put)

        loop.call_threadsafe(ask_all)
        found = [answers.get(timeout=DEADLINE) for _ in range(4)]
    assert sorted("figures" if "since" in each else "connections" for each in found) == [
        *("connections", "connections"),
        *("figures", "figures"),
    ]
    assert max(Counter(pieces).values()) == 1


def test_a_long_list_does_not_hold_up_the_figures(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steps, "SECONDS", 0.0)
    monkeypatch.setattr(inspection, "LOOKED_AT", 1)
    with counting(engine, Recorder()) as server, ExitStack() as stack:
        loop: Any = server._loop
        for _ in range(30):
            assert stack.enter_context(Peer(server.addresses[0])).ask(b"m") == b"m"
        answers = queue.Queue[Any]()

        def ask_both() -> None:
            server._inspection.tell("connections", lambda _: None, answers.put)
            server._inspection.tell("figures", lambda _: None, answers.put)

        loop.call_threadsafe(ask_both)
        assert answers.get(timeout=DEADLINE)["messages_in"] == 30, "of 6 pieces, not of 30"
        assert answers.get(timeout=DEADLINE)["total"] == 30


def test_questions_under_way_are_answered_at_the_end(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steps, "SECONDS", 0.0)
    monkeypatch.setattr(figures, "LOOKED_AT", 1)
    monkeypatch.setattr(inspection, "LOOKED_AT", 1)
    with counting(engine, Recorder()) as server, ExitStack() as stack:
        for _ in range(5):
            assert stack.enter_context(Peer(server.addresses[0])).ask(b"m") == b"m"
        loop: Any = server._loop
        rows, answers = list[Any](), queue.Queue[Any]()

        def ask_and_stop() -> None:
            server._inspection.tell("connections", rows.extend, answers.put)
            server._inspection.tell("figures", rows.extend, answers.put)
            loop.stop()

        loop.call_threadsafe(ask_and_stop)
        assert answers.get(timeout=DEADLINE) == {"total": 5, "connections": []}, "all are closed"
        assert answers.get(timeout=DEADLINE)["messages_in"] == 5
    assert rows == []


def test_an_answer_that_cannot_be_told_leaves_the_others(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steps, "SECONDS", 0.0)
    with counting(engine, Recorder()) as server:
        loop: Any = server._loop
        loop.on_error = lambda *_: None
        answers = queue.Queue[Any]()

        pieces = [[1], list[int]()]

        def ask_all() -> None:
            server._inspection.tell("figures", lambda _: pieces.pop().clear(), answers.put)
            for _ in range(2):
                server._inspection.tell("figures", lambda _: None, answers.put)

        loop.call_threadsafe(ask_all)  # the first has more pieces than there are here
        assert [answers.get(timeout=DEADLINE)["messages_in"] for _ in range(2)] == [0, 0]
        assert answers.empty()


def test_connections_that_end_during_a_look_are_counted_once(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steps, "SECONDS", 0.0)
    monkeypatch.setattr(figures, "LOOKED_AT", 1)
    with counting(engine, Recorder()) as server, ExitStack() as stack:
        loop: Any = server._loop
        for _ in range(5):
            assert stack.enter_context(Peer(server.addresses[0])).ask(b"m") == b"m"

        def abort_one(_: object) -> None:
            for connection in loop.all_connections()[:1]:
                connection.abort()

        answers = queue.Queue[Any]()
        loop.call_threadsafe(lambda: server._inspection.tell("figures", abort_one, answers.put))
        values = answers.get(timeout=DEADLINE)
        names = ("messages_in", "messages_out", "bytes_in", "bytes_out")
        assert [values[name] for name in names] == [5, 5, 25, 25]
        assert values["unsent"] == values["buffered"] == 0
        assert values["connections"]["open"] < 5
        assert traffic(server) == (5, 5, 25, 25)


def test_no_count_falls_though_messages_come_during_a_look(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Slow messages of a connection that was looked at already; and a second look, which ends
    first."""
    monkeypatch.setattr(figures, "LOOKED_AT", 1)
    with (
        counting(engine, slow) as server,
        Peer(server.addresses[0]) as first,
        Peer(server.addresses[0]) as last,
    ):
        loop: Any = server._loop
        for peer in (first, last):
            assert peer.ask(b"fast") == b"fast"
        before = ask(server, "figures")
        pieces = server._protocol.figures.in_pieces()

        def look_on() -> Any:
            """The next piece, in the loop's thread; the figures after the last one."""
            told = queue.Queue[Any]()
            loop.call_threadsafe(lambda: told.put(next(pieces, None)))
            return told.get(timeout=DEADLINE)

        def finish() -> dict[str, Any]:
            told = queue.Queue[Any]()

            def run() -> None:
                try:
                    while True:
                        next(pieces)
                except StopIteration as end:
                    told.put(end.value)

            loop.call_threadsafe(run)
            values: dict[str, Any] = told.get(timeout=DEADLINE)
            return values

        for _ in range(len(loop.sources()) - 1):  # the last one is not looked at yet
            look_on()
        assert first.ask(b"slow") == b"slow"
        until(lambda: sum(ask(server, "figures")["handler_seconds"]["counts"]) == 3)
        meanwhile = ask(server, "figures")
        late = finish()
        after = ask(server, "figures")
    for earlier, later in ((before, meanwhile), (meanwhile, late), (late, after)):
        for name in ("messages_in", "messages_out", "bytes_in", "bytes_out"):
            assert earlier[name] <= later[name]
        pairs = zip(
            earlier["handler_seconds"]["counts"], later["handler_seconds"]["counts"], strict=True
        )
        assert all(one <= other for one, other in pairs)
    assert after["messages_in"] == sum(after["handler_seconds"]["counts"]) == 3


def test_pauses_that_begin_are_counted(engine: Engine) -> None:
    class Pausing(Recorder):
        def received(self, message: bytes, connection: Connection) -> bytes:
            connection.pause_reading()
            connection.pause_reading()  # which it is already
            connection.resume_reading()
            return message

    with counting(engine, Pausing()) as server, Peer(server.addresses[0]) as peer:
        for _ in range(3):
            assert peer.ask(b"m") == b"m"
        assert ask(server, "figures")["pauses"]["user"] == 3
        assert ask(server, "figures")["paused"]["user"] == 0
    assert ask(server, "figures")["pauses"]["user"] == 3


def test_the_longest_turn_is_told_for_a_while(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    with counting(engine, slow) as server, Peer(server.addresses[0]) as peer:
        assert peer.ask(b"slow") == b"slow"
        until(lambda: ask(server, "figures")["longest_turn"] >= 0.03)
    longest, now = LongestTurn(), [1000.0]
    monkeypatch.setattr(figures, "time", SimpleNamespace(monotonic=lambda: now[0]))
    assert longest.read() == 0.0
    longest.count(0.5)
    longest.count(0.2)
    for later, wanted in ((WINDOW - 1, 0.5), (WINDOW, 0.5), (WINDOW, 0.0)):
        now[0] += later
        assert longest.read() == wanted


def test_a_server_that_stops_says_that_it_drains(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps, "SECONDS", math.inf)  # no turn follows
    stopping = [False]
    with Server(bind="127.0.0.1:0") as server:
        inquiry = OwnInquiry(server._inspection, lambda: stopping[0])
        told: list[Any] = []
        for stopping[0] in (False, True):
            inquiry.ask("log_level", told.extend)
    assert [answer.stage for answer in told] == ["serves", "drains"]
