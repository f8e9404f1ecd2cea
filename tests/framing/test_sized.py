"""A framing whose class says how large a frame is: what it promises, on both engines."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

import epollo
from epollo.engine import Connection
from epollo.errors import (
    EncodeError,
    FrameCorrupt,
    FrameTooLarge,
    FramingSpecError,
    SettingError,
)
from epollo.framing import Buffer, Header, Sized, parse
from epollo.testing import check_framing
from fuzz import streams
from fuzz.cutting import agree
from fuzz.sized import FRAMES, Late, Until, Wrapped
from tests.engines import Engine
from tests.framing.support import assert_cuts, assert_fails, assert_truncated, cut, decoders
from tests.support import Peer

MODULE = """
from epollo.framing import Sized

class Counted(Sized):
    def measure(self, header):
        return 1 + header[0]

counted = Counted("mine", max_frame=100)

class Unready(Sized):
    pass

class Headless(Sized):
    def measure(self):
        return 1

class Odd(Sized):
    def __init__(self):
        super().__init__("odd")
    def measure(self, header):
        return 1

class Failing(Sized):
    def __init__(self, name, max_frame):
        raise ValueError("no luck")
    def measure(self, header):
        return 1
"""


class Counted(Sized):
    """A byte that counts those behind it; the calls of ``measure`` are counted, too."""

    def __init__(self, name: str = "counted", max_frame: int = 100) -> None:
        super().__init__(name, max_frame)
        self.calls = 0

    def measure(self, header: Header) -> int | None:
        self.calls += 1
        return 1 + header[0]


class Says(Counted):
    """Says what the test wants."""

    says: Any = None

    def measure(self, header: Header) -> int | None:
        said: int | None = self.says
        return said


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The directory of a module ``mine``, which is the current one."""
    (tmp_path / "mine.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    sys.modules.pop("mine", None)


def test_a_part_is_stripped_a_trailer_is_checked_and_filler_is_skipped() -> None:
    framing = Wrapped("wrapped")
    frames = b"\n\0a\3one\r\n" + b"b\3\0\0\0two\r\n\n" + b"a\0\r\n\0\0"
    assert_cuts(framing, frames, [b"\3one", b"\3\0\0\0two", b"\0"])
    assert_fails(framing, b"a\1x\r\r", FrameCorrupt(r"frame ends with b'\r\r' instead of b'\r\n'"))
    assert_fails(framing, b"c", FrameCorrupt("frame begins with neither a nor b"), b"\na\0\r\n")
    assert_truncated(framing, b"\0a\3o", "the stream ended 4 bytes short of a frame's next part")


def test_filler_alone_is_no_partial_frame() -> None:
    for decoder in decoders(Wrapped("wrapped")):
        assert decoder.feed(b"\n\n\0") == []
        decoder.eof()
    decoder = Wrapped("wrapped").decoder()
    assert decoder.feed(b"\n") == []
    assert (decoder.partial, decoder.partial_size) == (False, 0)
    assert decoder.feed(b"\na\3") == []
    assert (decoder.partial, decoder.partial_size) == (True, 2)


def test_the_limit_is_inclusive_counts_all_of_the_frame_and_needs_no_body() -> None:
    assert cut(Wrapped("wrapped", 7), b"\n\na\3one\r\n") == [b"\3one"]
    assert_fails(Wrapped("wrapped", 6), b"a\3", FrameTooLarge(7, 6))
    assert_fails(Until("until", 4), b"12345", FrameTooLarge(5, 4))
    assert cut(Until("until", 5), b"1234\0") == [b"1234\0"]


def test_a_size_that_is_told_late_loses_no_frame() -> None:
    frames = [bytes([0, count]) + bytes(count) for count in (3, 0, 18, 90, 1, 0, 7, 60)]
    assert_cuts(Late("late"), b"".join(frames), frames)


@pytest.mark.parametrize(
    ("says", "error"),
    [
        (0, FrameCorrupt("frame of 0 bytes is shorter than the least of 1")),
        (-5, FrameCorrupt("frame of -5 bytes is shorter than the least of 1")),
        (1 << 70, FrameTooLarge(1 << 70, 100)),
    ],
)
def test_a_size_that_no_frame_has_is_refused(says: int, error: epollo.FrameError) -> None:
    framing = Says()
    framing.says = says
    assert_fails(framing, b"x", error)


def test_what_is_no_size_is_a_bug() -> None:
    framing = Says()
    framing.says = "7"
    for decoder in decoders(framing):
        with pytest.raises(TypeError, match="measure returned str, not an int or None"):
            decoder.feed(b"x")


def test_a_frame_in_very_many_pieces_is_searched_once() -> None:
    """Linear time takes about a second; searching from the start each time would take many."""
    framing = Until("until", 1 << 21)
    message = b"x" * 300_000 + b"\0"
    assert cut(framing, message, 1) == [message]


@pytest.mark.parametrize("name", ["redis", "stomp", "netconf11", "msgpack"])
def test_a_frame_with_very_many_parts_in_very_many_pieces_is_walked_once(name: str) -> None:
    stream = {
        "redis": b"*50000\r\n" + b":7\r\n" * 50_000,
        "stomp": b"SEND\n" + b"a:b\n" * 10_000 + b"\n" + b"\n\n" * 50_000 + b"\0",
        "netconf11": b"\n#1\nx" * 40_000 + b"\n##\n",
        "msgpack": b"\xdd\0\3\0\0" + b"\7" * (3 << 16),
    }[name]
    message = stream.removesuffix(b"\0") if name == "stomp" else stream
    assert cut(parse(name), stream, 1) == [message]


def test_a_frame_of_known_size_is_not_asked_about_again() -> None:
    framing = Counted(max_frame=1 << 20)
    for decoder in decoders(framing):
        framing.calls = 0
        for byte in bytes([200]) + bytes(200):
            decoder.feed(bytes([byte]))
        assert framing.calls <= 2
    native = decoders(framing)[-1]
    native.feed(b"\1x" * 100)
    framing.calls = 0
    native.feed(b"\1x" * 1000)
    assert framing.calls == 0 or len(decoders(framing)) == 1, "headers alike are remembered"


class Varint(Sized):
    """A type, a length of up to four bytes, and so many bytes."""

    def measure(self, header: bytearray) -> int | None:
        length = 0
        for at in range(1, min(len(header), 5)):
            length |= (header[at] & 127) << 7 * (at - 1)
            if header[at] < 128:
                return at + 1 + length
        return None


def test_headers_of_more_widths_than_are_remembered_are_not_confused() -> None:
    widths = [b"\1\x81\0a", b"\1\x81\x80\0a", b"\1\x81\x80\x80\0a", b"\1\1a"]
    for decoder in decoders(Varint("varint", max_frame=1 << 20)):
        for frame in widths:
            assert decoder.feed(frame) == [frame]
        frames = [b"\0\0", b"\0\2ab", b"\1\1z"]
        assert decoder.feed(b"".join(frames)) == frames


def test_a_measure_of_one_object_is_the_one_that_is_asked() -> None:
    framing = parse("redis")
    framing.measure = len  # type: ignore[attr-defined]
    for decoder in decoders(framing):
        assert decoder.feed(b"+") == [b"+"]


def test_a_view_of_the_header_that_is_kept_does_no_harm() -> None:
    kept = []

    class Keeping(Counted):
        def measure(self, header: Header) -> int | None:
            kept.append(memoryview(header))
            return 1 + header[0] if len(header) > 2 else None

    assert_cuts(Keeping(), b"\2ab\3abc\2ab", [b"\2ab", b"\3abc", b"\2ab"])


def test_code_that_changes_its_header_is_a_bug() -> None:
    class Changing(Counted):
        def measure(self, header: Header) -> int | None:
            size = len(header)
            header.clear()
            header += bytes(1000 if size == 2 else 0)
            return None

    for decoder in decoders(Changing()):
        with pytest.raises(TypeError, match="measure changed its header"):
            decoder.feed(b"\2a\3")
    for decoder in decoders(Counted()):
        assert decoder.feed(b"\2ab") == [b"\2ab"]


def test_what_is_not_a_frame_is_not_sent() -> None:
    framing = Wrapped("wrapped")
    with pytest.raises(EncodeError, match="strips 1 byte of each frame; give its class an encode"):
        framing.encode(b"\3one")
    counted = Counted()
    assert counted.encode(bytearray(b"\1x")) == b"\1x"
    for message in (b"", b"\1", b"\1xx"):
        with pytest.raises(EncodeError, match="message makes a frame of"):
            counted.encode(message)
    with pytest.raises(EncodeError, match="over max_frame"):
        counted.encode(bytes(101))
    with pytest.raises(EncodeError, match="message is not a frame of gt06: frame begins with"):
        parse("gt06").encode(b"hello")
    with pytest.raises(EncodeError, match="which stands between frames"):
        parse("stomp").encode(b"\nSEND\n\n")


class Prefixed(Sized):
    """With an ``encode`` of its own."""

    strip = 2

    def measure(self, header: Header) -> int | None:
        return 2 + header[1] if len(header) > 1 else None

    def encode(self, message: Buffer) -> Any:
        return bytearray(b"\0" + bytes([len(message)]) + message)


def test_both_engines_serve_it(engine: Engine) -> None:
    def reverse(message: bytes) -> bytes:
        return message[::-1]

    with (
        engine.server(reverse, framing=Prefixed("prefixed")) as server,
        Peer(server.addresses[0]) as peer,
    ):
        peer.send(b"\0\3one\0\0\0\2")
        assert peer.receive(7) == b"\0\3eno\0\0"
        peer.send(b"ab")
        assert peer.receive(4) == b"\0\2ba"


def test_a_client_speaks_it(engine: Engine) -> None:
    mine = Counted()
    with (
        engine.server(lambda message: message, framing=mine) as server,
        epollo.connect(server.addresses[0], framing=mine) as client,
    ):
        messages = [b"\1a", b"\2bc", b"\0"]
        assert list(client.requests(messages)) == messages


@pytest.mark.parametrize("meddles", [b"\7c\3d", b"\10e\3d"], ids=["pauses", "closes"])
def test_code_that_says_the_size_may_pause_and_close(engine: Engine, meddles: bytes) -> None:
    """No message is delivered to a connection that is paused or closed."""
    found: list[bytes] = []
    opened: list[Connection] = []

    class Meddling(Counted):
        def measure(self, header: Header) -> int | None:
            if header[0] == 7:
                opened[0].pause_reading()
            if header[0] == 8:
                opened[0].abort()
            return 2

    class Handler:
        def connected(self, connection: Connection) -> None:
            opened.append(connection)

        def received(self, message: bytes) -> bytes:
            found.append(message)
            return message

    with (
        engine.server(Handler(), framing=Meddling(), graceful_timeout=0.1) as server,
        Peer(server.addresses[0]) as peer,
    ):
        peer.send(b"\1a\2b")
        assert peer.receive(4) == b"\1a\2b"
        peer.send(meddles)
        with Peer(server.addresses[0]) as other:
            for _ in range(2):  # turns of the loop
                other.send(b"\4e")
                assert other.receive(2) == b"\4e"
        assert found == [b"\1a", b"\2b", b"\4e", b"\4e"]


@pytest.mark.parametrize("name", FRAMES)
def test_streams_give_the_same_on_both_engines_and_in_any_pieces(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "_MAKERS", (lambda _, limit: parse(name, max(limit, 2)),))
    for seed in range(40):
        agree(Random(seed))  # noqa: S311 (any stream will do)


# ---- module:Name


def test_a_class_is_made_with_the_name_and_the_limit(module: Path) -> None:
    framing = parse("mine:Counted", 50)
    assert (framing.name, framing.max_frame) == ("mine:Counted", 50)
    assert cut(framing, b"\1x\0") == [b"\1x", b"\0"]


def test_an_object_has_its_own_name_and_limit(module: Path) -> None:
    assert (parse("mine:counted").name, parse("mine:counted").max_frame) == ("mine", 100)
    with pytest.raises(SettingError, match="set its own, which is 100; or name a class"):
        parse("mine:counted", 50)


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        ("nosuch:Name", "framing module 'nosuch' not found here or on sys.path"),
        ("mine:Cuonted", "has no 'Cuonted'; did you mean"),
        ("mine.py:Counted", "names a file; write it as imported: mine:Counted"),
        ("mine:Unready", "framing class 'mine:Unready' has no measure; define it"),
        ("mine:Headless", r"framing class 'mine:Headless': measure must take \(self, header\)"),
        ("mine:Odd", r"is not made by \(name, max_frame\)"),
        ("mine:Failing", "framing class 'mine:Failing' raised ValueError: no luck"),
        ("json:loads", "framing 'json:loads' is a function, not a subclass of"),
        ("json:JSONDecoder", "is the class JSONDecoder, not a subclass of"),
        ("delim:X", "did you mean delimiter:X?"),
    ],
)
def test_a_wrong_name_is_told_in_one_line(module: Path, spec: str, text: str) -> None:
    with pytest.raises(FramingSpecError, match=text.replace("X?", r"X\?")) as caught:
        parse(spec)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", [-1, "1"])
def test_a_class_with_a_wrong_attribute_is_told(value: Any) -> None:
    class Wrong(Counted):
        strip = value

    with pytest.raises(FramingSpecError, match="is not a number of bytes"):
        Wrong()


def test_the_command_line_serves_and_loads_it(module: Path) -> None:
    """`bench` without an address starts a server of its own, of the same framing."""
    (module / "messages").write_bytes(b"\5hello\0\3abc")
    command = [sys.executable, "-m", "epollo", "bench", "-n", "100", "-c", "2", "--warmup", "0s"]
    command += ["--framing", "mine:Counted", "--payload", "messages"]
    done = subprocess.run(
        [*command, "--payload-framing", "mine:Counted", "-q"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("verb", ["serve", "bench"])
def test_the_command_line_tells_a_wrong_name_in_one_line(module: Path, verb: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "epollo", verb, "--framing", "mine:Nothing"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "framing 'mine:Nothing' not found" in done.stderr


# ---- check_framing


def test_a_framing_that_keeps_its_word_is_found_right(epollo_check_framing: Any) -> None:
    epollo_check_framing(Counted(), [b"\1x", b"\0"], [b"\1x", b"\0"])
    check_framing("line", [b"one\n", b"two\r\n"], [b"one", b"two"])


class Careless(Sized):
    """Takes for a length what has not come yet."""

    def measure(self, header: Header) -> int | None:
        return 3 + int.from_bytes(header[1:3], "big")


class Unlimited(Counted):
    """Does not hold its limit."""

    def size_of(self, header: Header) -> int:
        return 1 + header[0]


@pytest.mark.parametrize(
    ("framing", "frame", "message", "text"),
    [
        (Careless("careless"), b"x\0\2ab", b"x\0\2ab", "careless, .* engine: .* gives"),
        (Counted(), b"\1x", b"x", "gives 1 message"),
        ("line", b"one", b"one", "FrameTruncated"),
        (Unlimited(), b"\1x", b"\1x", "is taken with max_frame=1"),
    ],
)
def test_a_framing_that_does_not_is_found_wrong(
    framing: Any, frame: bytes, message: bytes, text: str
) -> None:
    with pytest.raises(AssertionError, match=text):
        check_framing(framing, [frame], [message])
