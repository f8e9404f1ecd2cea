"""The tester tested against servers whose answer is known: it says what they did, and how often.

Most of them are an echo that does one thing wrong, once.
"""

from __future__ import annotations

import pickle
import resource
import selectors
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from epollo import ConnectError, Connection, SettingError, address
from epollo.bench import Driver, Result, Second, Workload, run
from epollo.bench.load.payload import Payload
from epollo.bench.run.backends import backend_of
from epollo.descriptors import allow_descriptors
from epollo.engine import available
from tests.bench.hostile import SIZE, Accepted, Serve, hostile
from tests.engines import Engine
from tests.support import DEADLINE, Bomb, frame, unused

CONNECTIONS = 3
MESSAGES = 100
SHORT = 0.5  # a timeout in seconds, where waiting for it is the test
ANY = Engine("auto", "auto")  # where the way that the server runs makes no difference


def workload(to: str, **changes: Any) -> Workload:
    """A run of so many messages, all measured, that ends by itself where nothing is wrong."""
    settings: dict[str, Any] = {"connections": CONNECTIONS, "messages": MESSAGES, "warmup": 0}
    settings |= {"duration": None, "timeout": DEADLINE}
    return Workload(address=to, **settings | changes)


class Server:
    """Echoes, and counts; message ``at`` is answered with what ``deed`` returns for it."""

    def __init__(self, deed: Callable[[bytes], Any] | None = None, at: int = 10) -> None:
        self.deed = deed
        self.at = at
        self.messages = 0

    def received(self, message: bytes, connection: Connection) -> Any:
        self.messages += 1
        if self.deed is not None and self.messages == self.at:
            return self.deed(message)
        return message


def measure(engine: Engine, handler: Any, **changes: Any) -> Result:
    """What the tester says of a server with that handler."""
    framing = changes.get("framing", "u32")
    changes.setdefault("engine", engine.name)
    with engine.server(handler, framing=framing) as server:
        return run(workload(server.addresses[0], **changes))


def is_clean(result: Result, messages: int) -> bool:
    """Were so many answered correctly, each recorded once, and nothing wrong?"""
    return (
        result.errors == {}
        and not result.failed
        and result.messages == result.response.total == messages
    )


def test_the_queue_at_the_end_of_the_window_is_not_what_the_wait_for_replies_leaves_of_it(
    engine: Engine,
) -> None:
    """The last second is closed behind the wait, by which all of it may be answered."""
    second = 10**9
    counters = backend_of(engine.name).counters(None, lambda seconds: 400 * seconds, lambda: None)
    counters.open_window(5 * second, 1.0)
    counters.outstanding = 200
    counters.finish(6 * second)
    counters.outstanding = 0
    counters.close()
    assert [each.outstanding for each in counters.seconds] == [200]


# -- honest servers


@pytest.mark.parametrize("connections", [1, 3, 50])
@pytest.mark.parametrize("depth", [1, 16])
def test_an_honest_echo_gets_exactly_the_messages_asked_for(
    engine: Engine, connections: int, depth: int
) -> None:
    handler = Server()
    result = measure(engine, handler, connections=connections, depth=depth, messages=1000)
    assert is_clean(result, 1000)
    assert handler.messages == 1000
    assert len(result.answered) == result.connect.total == connections
    assert result.first_reply.total == connections
    assert 0 < result.response.minimum <= result.response.mean <= result.response.maximum


@pytest.mark.parametrize(
    ("framing", "size"),
    [
        ("u8", 0),
        ("u8", 255),
        ("u16le", 1000),
        ("u32", 1),
        ("u64", 100_000),
        ("line", 39),
        ("length(size=3,strip=3)", 100_000),
        ("protobuf", 300),
        ("netstring", 100_000),
        ("delimiter:\\r\\n", 1000),
        ("fixed:1KiB", 1024),
    ],
)
def test_any_framing_and_size(engine: Engine, framing: str, size: int) -> None:
    result = measure(engine, Server(), framing=framing, size=size, depth=4)
    assert is_clean(result, MESSAGES)


@pytest.mark.parametrize("framing", ["u8", "u32", "u64le", "protobuf", "fixed:64", "netstring"])
def test_each_message_is_that_of_its_number_and_connection(engine: Engine, framing: str) -> None:
    heard: list[bytes] = []

    def listen(message: bytes) -> bytes:
        heard.append(message)
        return message

    assert is_clean(measure(engine, listen, framing=framing, depth=16, messages=1000), 1000)
    payload = Payload([64], text=False)
    headers = [struct.unpack("<QIQ", message[:20]) for message in heard]
    assert heard == [
        payload.message(connection, number, due) for number, connection, due in headers
    ]
    for connection in {connection for _, connection, _ in headers}:
        own = [(number, due) for number, its, due in headers if its == connection]
        assert [number for number, _ in own] == list(range(len(own)))
        assert len({due for _, due in own}) == len(own)


def test_a_frame_written_in_another_way_is_as_right(engine: Engine) -> None:
    def serve(peer: Accepted) -> None:
        while len(request := peer.receive(1 + SIZE)) > 1:
            peer.send(b"\xc0\x00" + request[1:])  # 64, as a varint of two bytes

    with hostile(serve) as where:
        load = workload(where, framing="protobuf", depth=4, engine=engine.name)
        assert is_clean(run(load), MESSAGES)


def test_messages_over_the_usual_limits() -> None:
    size = 5 << 20
    with ANY.server(Server(), max_frame=size + 16, max_unsent=4 * size) as server:
        assert is_clean(run(workload(server.addresses[0], size=size, messages=5)), 5)


def test_a_unix_socket(engine: Engine, tmp_path: Path) -> None:
    with engine.server(Server(), bind=f"unix:{tmp_path}/echo") as server:
        assert is_clean(run(workload(server.addresses[0])), MESSAGES)


def test_ipv6(engine: Engine) -> None:
    try:
        with address.listen(address.parse("[::1]:0"), 1):
            pass
    except OSError:
        pytest.skip("this machine has no ::1")
    with engine.server(Server(), bind="[::1]:0") as server:
        assert is_clean(run(workload(server.addresses[0])), MESSAGES)


def test_a_host_name(engine: Engine) -> None:
    with engine.server(Server(), bind="localhost:0") as server:
        port = server.addresses[0].rpartition(":")[2]
        assert is_clean(run(workload(f"localhost:{port}")), MESSAGES)


def test_fewer_messages_than_connections(engine: Engine) -> None:
    handler = Server()
    result = measure(engine, handler, connections=50, messages=10, timeout=3600)  # waits for none
    assert is_clean(result, 10)
    assert handler.messages == 10


def test_more_connections_than_are_opened_at_once(tmp_path: Path) -> None:
    with ANY.server(Server(), bind=f"unix:{tmp_path}/echo") as server:
        result = run(workload(server.addresses[0], connections=400, warmup=0.01))
    assert is_clean(result, MESSAGES)
    assert result.connect.total == 400


def test_a_unix_socket_whose_accept_queue_is_full_is_tried_again(tmp_path: Path) -> None:
    with ANY.server(Server(), bind=f"unix:{tmp_path}/echo", backlog=1) as server:
        result = run(workload(server.addresses[0], connections=50, warmup=0.01))
    assert is_clean(result, MESSAGES)
    assert result.connect.total == 50


class Watch:
    """Echoes, and keeps when each message came on which connection."""

    def __init__(self) -> None:
        self.opened = 0
        self.came: list[tuple[int, float]] = []

    def connected(self, connection: Connection) -> None:
        self.opened += 1
        connection.state = self.opened

    def received(self, message: bytes, connection: Connection) -> bytes:
        self.came.append((connection.state, time.monotonic()))
        return message


@pytest.mark.parametrize(("every", "depth"), [(1, 1), (1, 3), (2, 2), (2, 4), (3, 1), (3, 2)])
def test_think_time_passes_before_a_message_on_a_new_connection_too(
    engine: Engine, every: int, depth: int
) -> None:
    think, watch = 0.01, Watch()
    load: dict[str, Any] = {"connections": 1, "messages": 3 * every}
    result = measure(engine, watch, think=think, reconnect_every=every, depth=depth, **load)
    assert is_clean(result, 3 * every)
    came = [[at for number, at in watch.came if number == each] for each in (1, 2, 3)]
    assert [len(times) for times in came] == [every] * 3
    for before, after in pairwise(came):
        assert after[0] - before[-1] >= think
    if depth == 1:
        times = [at for _, at in watch.came]
        assert all(later - earlier >= think for earlier, later in pairwise(times))


def test_a_connection_in_place_of_another_begins_with_its_depth_of_messages(
    engine: Engine,
) -> None:
    """So that think time passes before each that follows a reply."""
    watch = Watch()
    load: dict[str, Any] = {"think": 0.01, "reconnect_every": 4, "depth": 2}
    assert is_clean(measure(engine, watch, connections=1, messages=8, **load), 8)
    first, second, third, fourth = [at for number, at in watch.came if number == 2]
    assert third - first >= 0.01
    assert fourth - second >= 0.01


# -- the window


def test_the_warm_up_is_not_measured() -> None:
    handler = Server()
    assert is_clean(measure(ANY, handler, warmup=0.1), MESSAGES)
    assert handler.messages > MESSAGES


def test_what_goes_wrong_in_the_warm_up_is_no_part_of_the_messages_measured(
    engine: Engine,
) -> None:
    result = measure(engine, Server(flip), warmup=0.3)
    assert result.errors == {"in_warmup": 1}
    assert result.failed
    assert result.messages == result.sent == result.response.total == MESSAGES


@pytest.mark.parametrize(("connections", "depth"), [(1, 1), (3, 1), (10, 8)])
def test_a_run_of_some_time_keeps_littles_law(connections: int, depth: int) -> None:
    """N = X * R: each of the messages outstanding is replaced when its reply comes, so that the
    latencies add up to the time at most, but for what hangs over the window's two edges. How near
    they come to it, depends on the machine: `make truth`."""
    result = measure(
        ANY,
        Server(),
        connections=connections,
        depth=depth,
        messages=None,
        duration=0.2,
        warmup=0.05,
    )
    assert result.errors == {}
    assert result.messages == result.response.total  # on a busy machine perhaps none
    assert result.elapsed >= 0.2
    assert result.rate * result.elapsed == pytest.approx(result.messages, abs=connections * depth)
    edge = result.response.maximum / 1e9 / result.elapsed
    outstanding = result.rate * result.response.mean / 1e9
    assert outstanding <= connections * depth * (1 + edge)


def test_the_first_bound_ends_the_run_messages() -> None:
    result = measure(ANY, Server(), duration=60, warmup=0.05)
    assert is_clean(result, MESSAGES)
    assert result.elapsed < 60


def test_the_first_bound_ends_the_run_duration() -> None:
    result = measure(ANY, Server(), duration=0.1, messages=10**9)
    assert result.errors == {}
    assert result.messages == result.response.total  # on a busy machine perhaps none
    assert result.elapsed >= 0.1


def test_a_run_of_messages_lasts_until_the_last_reply() -> None:
    """Not until the last was sent, which for these is at once."""
    handler = Server(deed=pausing(0.1), at=1)
    result = measure(ANY, handler, connections=1, messages=1, duration=60)
    assert is_clean(result, 1)
    assert result.elapsed * 1e9 >= result.response.minimum >= 0.1e9


def test_each_second_is_told_the_last_one_too() -> None:
    reported: list[Second] = []
    with ANY.server(Server()) as server:
        load = workload(server.addresses[0], messages=None, duration=1)
        result = Driver(load, progress=reported.append).run()
    assert [(each.start, each.sent) for each in reported] == [
        (each.start, each.sent) for each in result.seconds
    ]
    (second,) = reported
    assert 0 <= result.messages - second.messages <= CONNECTIONS  # those under way at its end
    assert 0 < second.response.minimum <= second.response.maximum
    assert second.errors == 0


def test_a_stall_is_in_the_latencies_of_those_who_waited() -> None:
    """In a closed loop these are few; the others wait unsent, and nobody sees it."""
    result = measure(ANY, Server(deed=pausing(0.3), at=50), connections=1)
    assert is_clean(result, MESSAGES)
    stalled = [count for low, _, count in result.response.buckets() if low > 0.29e9]
    assert sum(stalled) >= 1
    assert result.response.maximum >= 0.3e9


def pausing(seconds: float) -> Callable[[bytes], bytes]:
    def deed(message: bytes) -> bytes:
        threading.Event().wait(seconds)
        return message

    return deed


def test_stop_ends_the_run_early_and_loses_nothing(engine: Engine) -> None:
    drivers: list[Driver] = []

    def stop(message: bytes) -> bytes:
        drivers[0].stop()
        return message

    with engine.server(Server(deed=stop, at=50)) as server:
        drivers.append(Driver(workload(server.addresses[0], messages=10**9)))
        result = drivers[0].run()
    assert is_clean(result, result.messages)
    assert 50 <= result.messages < 10**9


def test_stop_in_the_warm_up_leaves_nothing_measured(engine: Engine) -> None:
    drivers: list[Driver] = []

    def stop(message: bytes) -> bytes:
        drivers[0].stop()
        return message

    with engine.server(Server(deed=stop)) as server:
        drivers.append(Driver(workload(server.addresses[0], warmup=60)))
        result = drivers[0].run()
    assert result.messages == result.response.total == 0
    assert (result.elapsed, result.rate, result.errors) == (0, 0, {})
    assert result.failed


# -- servers that answer wrongly


def flip(message: bytes) -> bytes:
    return message[:-1] + bytes([message[-1] ^ 1])


def flip_number(message: bytes) -> bytes:
    return bytes([message[0] ^ 1]) + message[1:]


def shorten(message: bytes) -> bytes:
    return message[:-1]


def empty(_: bytes) -> bytes:
    return b""


def say_another_thing(_: bytes) -> bytes:
    return b"server busy"


def swallow(_: bytes) -> None:
    pass


@pytest.mark.parametrize("depth", [1, 4])
@pytest.mark.parametrize("framing", ["u32", "line"])
@pytest.mark.parametrize(
    ("deed", "fault"),
    [
        (flip, "wrong_bytes"),
        (flip_number, "wrong_bytes"),
        (say_another_thing, "wrong_bytes"),
        (shorten, "short"),
        (empty, "short"),
    ],
)
def test_a_wrong_reply_is_counted_for_what_it_is(
    engine: Engine, deed: Callable[[bytes], bytes], fault: str, framing: str, depth: int
) -> None:
    result = measure(engine, Server(deed), framing=framing, depth=depth)
    assert result.errors == {fault: 1}
    assert result.failed
    assert result.messages == MESSAGES - 1
    assert result.response.total == MESSAGES


@pytest.mark.parametrize("size", [20, 64])
@pytest.mark.parametrize("place", [0, 7, 8, 11, 12, 19, -1])
def test_a_wrong_byte_is_found_wherever_it_is(engine: Engine, place: int, size: int) -> None:
    def damage(message: bytes) -> bytes:
        damaged = bytearray(message)
        damaged[place] ^= 1
        return bytes(damaged)

    handler = Server(damage, at=500)  # in the midst: most others are matched many at a time
    result = measure(engine, handler, depth=16, messages=1000, size=size)
    assert result.errors == {"wrong_bytes": 1}
    assert (result.messages, result.response.total) == (999, 1000)


def test_wrong_replies_while_many_are_outstanding(engine: Engine) -> None:
    many = 2000

    class Gatherer:
        """Answers the message that opens the connection, and all others at once, each wrongly."""

        def __init__(self) -> None:
            self.kept: list[bytes] | None = None

        def received(self, message: bytes, connection: Connection) -> Any:
            if self.kept is None:
                self.kept = []
                return message
            self.kept.append(flip(message))
            return self.kept if len(self.kept) == many else None

    result = measure(engine, Gatherer(), connections=1, rate=20_000, messages=many)
    assert result.errors == {"wrong_bytes": many}
    assert result.sent == result.response.total == many


def repeat(message: bytes) -> list[bytes]:
    return [message, message]


def add_one_behind(message: bytes) -> list[bytes]:
    return [message, b"unasked"]


def add_one_before(message: bytes) -> list[bytes]:
    return [b"unasked", message]


def add_an_empty_one(message: bytes) -> list[bytes]:
    return [b"", message]


@pytest.mark.parametrize("depth", [1, 4])
@pytest.mark.parametrize(
    ("deed", "fault"),
    [
        (repeat, "duplicate"),
        (add_one_behind, "extra"),
        (add_one_before, "extra"),
        (add_an_empty_one, "extra"),
    ],
)
def test_a_reply_too_many_costs_no_right_one(
    engine: Engine, deed: Callable[[bytes], list[bytes]], fault: str, depth: int
) -> None:
    result = measure(engine, Server(deed), depth=depth)
    assert result.errors == {fault: 1}
    assert result.failed
    assert result.messages == result.response.total == MESSAGES


def test_a_greeting_is_extra(engine: Engine) -> None:
    class Greeter(Server):
        def connected(self, connection: Connection) -> None:
            connection.send(b"220 ready")

    result = measure(engine, Greeter(), depth=4)
    assert result.errors == {"extra": CONNECTIONS}
    assert result.messages == result.response.total == MESSAGES


def test_a_short_message_that_comes_twice_is_not_taken_for_its_successor(
    engine: Engine,
) -> None:
    """It cannot say whose it is, so it is one too many; the next ones are right again."""
    result = measure(engine, Server(repeat), size=2)
    assert result.errors == {"extra": 1}
    assert result.messages == result.response.total == MESSAGES


class Reorderer(Server):
    """Keeps back so many replies, from ``at`` on, and sends them in the order that it is told."""

    def __init__(self, order: list[int]) -> None:
        super().__init__()
        self.order = order
        self.kept: list[bytes] = []

    def received(self, message: bytes, connection: Connection) -> Any:
        super().received(message, connection)
        if not self.at <= self.messages < self.at + len(self.order):
            return message
        self.kept.append(message)
        return [self.kept[n] for n in self.order] if len(self.kept) == len(self.order) else None


@pytest.mark.parametrize(
    ("order", "late"),
    [([1, 0], 1), ([2, 0, 1], 2), ([1, 2, 0], 1), ([3, 2, 1, 0], 3), ([1, 0, 3, 2], 2)],
)
@pytest.mark.parametrize("size", [2, 64])
def test_a_reply_that_another_overtook_is_wrong_order(
    order: list[int], late: int, size: int
) -> None:
    result = measure(ANY, Reorderer(order), connections=1, depth=4, size=size)
    assert result.errors == {"wrong_order": late}
    assert result.messages == MESSAGES - late
    assert result.response.total == MESSAGES


def test_bytes_from_the_network_are_never_unpickled(engine: Engine, tmp_path: Path) -> None:
    trace = tmp_path / "exploded"
    result = measure(engine, Server(lambda _: pickle.dumps(Bomb(trace))))
    assert result.errors == {"wrong_bytes": 1}
    assert not trace.exists()


# -- servers that do not answer


def test_a_swallowed_reply_is_unanswered_and_its_wait_is_recorded() -> None:
    """Nothing else is under way on that connection, so it is given up; the others go on."""
    result = measure(ANY, Server(swallow), timeout=SHORT)
    assert result.errors == {"unanswered": 1}
    assert result.messages == MESSAGES - 1
    assert result.response.total == MESSAGES
    assert result.response.maximum >= SHORT * 1e9


def test_a_reply_swallowed_in_a_pipeline_is_the_only_one_lost() -> None:
    result = measure(ANY, Server(swallow), connections=1, depth=4, timeout=SHORT)
    assert result.errors == {"unanswered": 1}
    assert result.messages == MESSAGES - 1
    assert result.response.total == MESSAGES
    assert result.response.maximum >= SHORT * 1e9


def test_a_reply_to_a_message_that_was_given_up_is_no_other_error(engine: Engine) -> None:
    """It comes when the next ones have been answered, and the timeout is long over."""

    class Late(Server):
        first: bytes | None = None

        def received(self, message: bytes, connection: Connection) -> Any:
            super().received(message, connection)
            if self.messages == 5:
                self.first, self.since = message, time.monotonic()
                return None
            if self.first is not None and time.monotonic() - self.since > 2 * SHORT:
                first, self.first = self.first, None
                drivers[0].stop()
                return [first, message]
            return message

    handler, drivers = Late(), list[Driver]()
    load: dict[str, Any] = {"rate": 1000, "timeout": SHORT, "messages": None, "duration": 60}
    with engine.server(handler) as server:
        load |= {"connections": 1, "engine": engine.name}
        drivers.append(Driver(workload(server.addresses[0], **load)))
        result = drivers[0].run()
    assert result.errors == {"unanswered": 1}
    assert handler.first is None
    assert result.lost == 0
    assert result.response.total == result.sent == result.messages + 1


def test_a_message_given_up_in_a_pipeline_is_replaced() -> None:
    """The server swallows the 5th, answers the 6th so late that the 7th is not given up with the
    5th, and answers the 7th when it has the 8th: which is the one sent in place of the 5th."""

    class Waiter(Server):
        seventh = b""

        def received(self, message: bytes, connection: Connection) -> Any:
            super().received(message, connection)
            if self.messages == 6:
                later = connection.loop.call_later  # type: ignore[attr-defined]
                later(5 * SHORT, lambda: connection.send(message))
            if self.messages == 7:
                self.seventh = message
            if self.messages in (5, 6, 7):
                return None
            return [self.seventh, message] if self.messages == 8 else message

    result = measure(ANY, Waiter(), connections=1, depth=2, timeout=8 * SHORT)
    assert result.errors == {"unanswered": 1}
    assert result.messages == MESSAGES - 1
    assert result.response.total == MESSAGES


def test_a_server_that_stalls_for_good_leaves_all_unanswered() -> None:
    over = threading.Event()

    def stall(message: bytes) -> None:
        over.wait(DEADLINE)

    with ANY.server(Server(stall)) as server:
        result = run(workload(server.addresses[0], timeout=SHORT, messages=None, duration=60))
        over.set()
    assert result.errors == {"unanswered": CONNECTIONS}
    assert result.response.total == result.messages + CONNECTIONS
    assert result.elapsed < 60


@pytest.mark.parametrize("warmup", [0, 60])
def test_a_listener_that_nobody_accepts_from_is_unanswered(warmup: float) -> None:
    """Though every connect succeeds: the kernel does that."""
    with address.listen(address.parse("127.0.0.1:0"), 100) as listener:
        load = workload(str(address.of(listener.getsockname())), timeout=SHORT, warmup=warmup)
        result = run(load)
    assert result.errors == {"unanswered": CONNECTIONS}
    assert result.connect.total == CONNECTIONS
    assert result.messages == result.first_reply.total == 0
    assert result.response.total == (0 if warmup else CONNECTIONS)
    assert result.failed


def test_no_more_are_opened_once_one_was_not_served() -> None:
    """Else a run against a dead server takes a timeout for every few hundred connections."""
    with address.listen(address.parse("127.0.0.1:0"), 2000) as listener:
        load = workload(
            str(address.of(listener.getsockname())), connections=1000, timeout=SHORT, warmup=60
        )
        result = run(load)
    assert result.errors == {"unanswered": result.connect.total}
    assert 0 < result.connect.total < 1000


def test_a_full_accept_queue_times_out() -> None:
    with address.listen(address.parse("127.0.0.1:0"), 0) as listener:
        where = address.of(listener.getsockname())
        # One fits, beyond the backlog of 0; the kernel drops the others' SYN (listen(2)).
        peers = [address.start_connect(where) for _ in range(4)]
        with pytest.raises(ConnectError, match=r"no answer within 0\.5 s"):
            run(workload(str(where), timeout=SHORT))
        for peer in peers:
            peer.close()


# -- servers that break the connection, or are none


def answer(reply: bytes) -> Serve:
    """Take the first message, send ``reply``, close."""

    def serve(peer: Accepted) -> None:
        peer.next_frame()
        peer.send(reply)

    return serve


def ask_and_reset(peer: Accepted) -> None:
    peer.next_frame()
    peer.reset()


HTTP = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"


@pytest.mark.parametrize(
    ("serve", "error"),
    [
        (answer(HTTP), "bad_frame"),
        (answer(b"\xff" * 100), "bad_frame"),
        (answer(b""), "closed_early"),
        (answer(frame(bytes(64))[:20]), "closed_early"),
        (ask_and_reset, "reset"),
    ],
    ids=["http", "garbage", "closes", "closes-in-a-frame", "resets"],
)
def test_a_connection_that_breaks_is_counted_with_what_it_loses(serve: Serve, error: str) -> None:
    with hostile(serve) as where:
        result = run(workload(where))
    assert result.errors == {error: CONNECTIONS, "unanswered": CONNECTIONS}
    assert result.connect.total == result.response.total == CONNECTIONS
    assert result.messages == 0
    assert result.failed


def test_a_reset_instead_of_an_answer_to_the_connect_is_no_refusal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    start_connect = address.start_connect

    def wait_for_the_reset(where: address.Address, *source: Any) -> socket.socket:
        sock = start_connect(where, *source)
        with selectors.DefaultSelector() as selector:
            selector.register(sock, selectors.EVENT_READ)
            assert selector.select(DEADLINE)
        return sock

    monkeypatch.setattr(address, "start_connect", wait_for_the_reset)
    with hostile(Accepted.reset) as where, pytest.raises(ConnectError, match="reset by peer"):
        run(workload(where))


def test_a_server_that_closes_loses_what_is_outstanding(engine: Engine) -> None:
    class Closer(Server):
        def received(self, message: bytes, connection: Connection) -> Any:
            super().received(message, connection)
            if self.messages == self.at:
                connection.close()
                return None
            return message

    result = measure(engine, Closer())
    assert result.errors == {"closed_early": 1, "unanswered": 1}
    assert result.messages == MESSAGES - 1
    assert result.response.total == MESSAGES


def test_a_connection_closed_when_it_has_all_its_replies_is_no_error() -> None:
    """The others are still waiting for theirs, and see it come and go."""

    class LastOneWaits(Server):
        def received(self, message: bytes, connection: Connection) -> Any:
            super().received(message, connection)
            if self.messages == CONNECTIONS:
                later = connection.loop.call_later  # type: ignore[attr-defined]
                later(SHORT, lambda: connection.send(message))
                return None
            connection.close()
            return message

    result = measure(ANY, LastOneWaits(), messages=CONNECTIONS)
    assert is_clean(result, CONNECTIONS)


@pytest.mark.parametrize("connections", [1, 1000])
def test_nothing_listening_is_refused(connections: int) -> None:
    with (
        unused() as where,
        pytest.raises(ConnectError, match=rf"{where}: connection refused; nothing listens"),
    ):
        run(workload(where, connections=connections))


def test_no_unix_socket_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConnectError, match="no such file or directory"):
        run(workload(f"unix:{tmp_path}/none", connections=1000))


def test_an_unknown_host_is_named() -> None:
    with pytest.raises(ConnectError, match=r"cannot connect to no-such-host\.invalid:1: "):
        run(workload("no-such-host.invalid:1"))


def test_a_connection_to_itself_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the kernel makes of a connect to a free port that it picks for this side as well."""

    def connect_to_itself(*_: Any) -> socket.socket:
        sock = socket.socket()
        sock.bind(("127.0.0.1", 0))
        sock.connect(sock.getsockname())
        return sock

    monkeypatch.setattr(address, "start_connect", connect_to_itself)
    with pytest.raises(ConnectError, match=r"cannot connect to 127\.0\.0\.1:1: "):
        run(workload("127.0.0.1:1"))


def test_some_connections_of_many_refused_are_counted(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    start_connect = address.start_connect
    calls: list[address.Address] = []

    def refuse_the_second(where: address.Address, *source: Any) -> socket.socket:
        calls.append(where)
        if len(calls) == 2:
            raise ConnectError("refused") from ConnectionRefusedError()
        return start_connect(where, *source)

    monkeypatch.setattr(address, "start_connect", refuse_the_second)
    result = measure(engine, Server())
    assert result.errors == {"connect_refused": 1}
    assert result.connect.total == CONNECTIONS - 1
    assert result.messages == result.response.total == MESSAGES
    assert result.answered[1] == 0
    assert result.failed


def test_a_bug_of_the_tester_is_not_a_figure(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    class FailAtTheTenth(Payload):
        def message(self, connection: int, number: int, intended: int) -> bytes:
            return super().message(connection, number, intended // (number != 10))

    payload = FailAtTheTenth([64], text=False)
    monkeypatch.setattr(sys.modules[Driver.__module__], "new_payload", lambda *_: payload)
    with engine.server(Server()) as server:
        driver = Driver(workload(server.addresses[0], engine=engine.name))
        with pytest.raises(ZeroDivisionError):
            driver.run()


# -- descriptors


def test_descriptors_are_allowed_up_to_the_hard_limit() -> None:
    before = soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 256), hard))
        allow_descriptors(300)
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] >= 300
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_more_connections_than_descriptors_is_an_error_that_says_how_many() -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard == resource.RLIM_INFINITY:
        pytest.skip("this process may have any number of descriptors")
    with pytest.raises(SettingError, match=rf"may have \d+ at most \(ulimit -n {hard}\)"):
        run(workload("127.0.0.1:1", connections=hard))


# -- framings whose length stands inside the message

IN_PLACE = {  # a whole frame of each protocol
    "modbus": "0001000000061103006b0003",
    "mongodb": "1500000001000000d20400000100000005000000ff",
    "length(size=4,adjust=-4)": "00000010000000150000000000000001",  # SMPP
    "length(offset=1,size=3,adjust=-4)": "01000014800001180000000000000001ab000001",  # Diameter
    "length(offset=2,size=4)": "05000000000400000000",  # DICOM
    "length(offset=2,size=2,adjust=-4)": "0300001611e00000000100c0010ac1020100c2020102",  # S7
    "length(offset=4,size=4,adjust=-8,order=little)": "48454c460c00000000000001",  # OPC UA
    "length(size=3,adjust=1,order=little)": "010000000e",  # MySQL
    "mqtt": "100f00044d5154540402003c0003616263",
    "ldap": "300c020101600702010304008000",
    "digits(offset=1,size=2)": "ff3033616263",
    "headers": "436f6e74656e742d4c656e6774683a20320d0a0d0a7b7d",
}


@pytest.mark.parametrize(
    ("framing", "expect"),
    [
        *((framing, "any") for framing in IN_PLACE),
        ("modbus", "echo"),
        ("modbus", "tests.bench.reply_checks:same"),
    ],
)
def test_a_payload_is_sent_as_it_is_in_a_framing_with_its_length_inside(
    framing: str, expect: str, tmp_path: Path
) -> None:
    whole = bytes.fromhex(IN_PLACE[framing])
    (tmp_path / "frame").write_bytes(whole)
    heard: set[bytes] = set()

    def listen(message: bytes) -> bytes:
        heard.add(message)
        return message

    load = {"payload": str(tmp_path / "frame"), "expect": expect}
    assert is_clean(measure(ANY, listen, framing=framing, **load), MESSAGES)
    assert heard == {whole}


@pytest.mark.parametrize("tester", available())
@pytest.mark.parametrize("framing", IN_PLACE)
def test_messages_are_verified_in_all_that_a_framing_with_its_length_inside_leaves_free(
    framing: str, tester: str
) -> None:
    assert is_clean(measure(Engine(tester, "auto"), Server(), framing=framing, depth=4), MESSAGES)


@pytest.mark.parametrize("tester", available())
def test_a_wrong_byte_in_a_framing_with_its_length_inside_is_found(tester: str) -> None:
    result = measure(Engine(tester, "auto"), Server(flip), framing="modbus", depth=4)
    assert result.errors == {"wrong_bytes": 1}
    assert result.messages == MESSAGES - 1


# -- the average number of outstanding messages


class Slow:
    """Echoes each message after a time, however many wait."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def received(self, message: bytes, connection: Connection) -> None:
        later = connection.loop.call_later  # type: ignore[attr-defined]
        later(self.seconds, partial(self.answer, message, connection))

    def answer(self, message: bytes, connection: Connection) -> None:
        if not connection.closed:
            connection.send(message)


@pytest.mark.parametrize("tester", available())
def test_messages_sent_before_the_window_are_outstanding_in_it(tester: str) -> None:
    """Each connection has one at all times: the next is sent when a reply comes."""
    load = {"connections": 4, "messages": None, "duration": 0.1, "warmup": 0.01}
    result = measure(Engine(tester, "auto"), Slow(0.3), **load)
    assert result.concurrency == pytest.approx(4, rel=0.05)


def test_a_tester_that_is_late_for_the_whole_window_knows_what_was_outstanding(
    engine: Engine,
) -> None:
    """A reply that was due behind the window comes to it before the timers of begin and end."""
    counters = backend_of(engine.name).counters(None, None, lambda: None)
    counters.outstanding = 4
    counters.open_window(time.monotonic_ns(), 1e-6)
    counters.finish(time.monotonic_ns())
    counters.begin_area()
    assert counters.average_outstanding == 4


def test_a_run_that_ends_in_its_warm_up_has_no_average_of_outstanding_messages(
    engine: Engine,
) -> None:
    counters = backend_of(engine.name).counters(None, None, lambda: None)
    counters.outstanding = 4
    counters.open_window(time.monotonic_ns() + 10**12, 1.0)
    counters.finish(time.monotonic_ns())
    assert counters.average_outstanding is None


@pytest.mark.parametrize("tester", [*available(), "two processes"])
@pytest.mark.parametrize("rate", [None, 40], ids=["closed", "open"])
def test_no_more_messages_are_outstanding_than_were_sent_at_once(
    rate: float | None, tester: str
) -> None:
    """Four in a closed loop, and in an open loop all of it."""
    load: dict[str, Any] = {"connections": 4, "messages": None, "duration": 0.2, "rate": rate}
    if tester == "two processes":
        tester, load["processes"] = "auto", 2
    result = measure(Engine(tester, "auto"), Slow(0.4), **load)
    assert result.errors == {}
    assert 0 < result.concurrency <= (4 if rate is None else result.sent)
