"""What is sent: of sizes, of a file, by a template; and what no framing could carry."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import pytest

from epollo.bench import run
from epollo.bench.load.payload import Fault
from epollo.bench.messages import Messages, new_payload
from epollo.bench.workload import Workload
from epollo.errors import SettingError
from tests.engines import Engine
from tests.support import Recorder


def messages(**load: Any) -> Messages:
    workload = Workload(address="127.0.0.1:1", **load)
    return new_payload(workload, workload.new_framing())


def sizes(payload: Messages, count: int) -> list[int]:
    return [len(payload.message(0, number, 10**12)) for number in range(count)]


# -- sizes


def test_one_size_is_that_of_all() -> None:
    assert sizes(messages(size="1KiB"), 10) == [1024] * 10


def test_sizes_are_those_drawn() -> None:
    workload = Workload(address="127.0.0.1:1", size="100:3,1KiB..2KiB:1", seed=7)
    drawn = workload.sizes.draw(7)
    found = sizes(messages(size="100:3,1KiB..2KiB:1", seed=7), len(drawn) + 5)
    assert found == drawn + drawn[:5]
    assert {100} < set(found) <= {100, *range(1024, 2049)}
    assert 0.7 < found.count(100) / len(found) < 0.8
    assert found != sizes(messages(size="100:3,1KiB..2KiB:1", seed=8), len(found))


@pytest.mark.parametrize("framing", ["line", "delimiter:\\0"])
def test_framings_by_delimiter_get_text(framing: str) -> None:
    assert messages(framing=framing).message(1, 2, 3).decode().isprintable()
    assert not messages(framing="u32").message(1, 2, 3).decode().isprintable()


# -- a file


def test_each_message_is_the_file(tmp_path: Path) -> None:
    content = os.urandom(3 << 20)  # over the usual bound of a frame
    (tmp_path / "content").write_bytes(content)
    payload = messages(payload=f"{tmp_path}/content")
    assert payload.message(0, 0, 0) == payload.message(5, 6, 7) == content


def test_a_file_fits_a_framing_that_the_usual_size_does_not(tmp_path: Path) -> None:
    (tmp_path / "content").write_bytes(bytes(10))
    assert messages(payload=f"{tmp_path}/content", framing="fixed:10").message(0, 0, 0) == bytes(10)


@pytest.mark.parametrize(
    ("load", "expected"),
    [({"template": "number {number}"}, b"number 3"), ({"payload": "content"}, b"the content")],
)
def test_a_wrong_reply_is_told_by_what_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, load: dict[str, str], expected: bytes
) -> None:
    (tmp_path / "content").write_bytes(b"the content")
    monkeypatch.chdir(tmp_path)
    payload = messages(**load)
    assert payload.message(0, 3, 0) == expected
    assert payload.fault(expected, None, 0, 4) is Fault.EXTRA
    assert payload.fault(expected[:-1], expected, 0, 4) is Fault.SHORT
    assert payload.fault(b"", expected, 0, 4) is Fault.SHORT
    assert payload.fault(expected + b"!", expected, 0, 4) is Fault.WRONG_BYTES


@pytest.mark.parametrize(
    ("content", "framing", "why"),
    [
        (b"two\nlines", "line", "payload: a message with LF in it"),
        (b"one line\r", "line", "payload: a message that ends in CR"),
        (b"a\0b", "delimiter:\\0", r"payload: a message with its delimiter b'\\x00' in it"),
        (bytes(11), "fixed:10", "payload: message of 11 bytes; fixed:10 takes 10"),
        (bytes(256), "u8", "payload: message of 256 bytes .*; use another payload, or another fr"),
    ],
)
def test_a_file_that_the_framing_cannot_hold_is_refused(
    tmp_path: Path, content: bytes, framing: str, why: str
) -> None:
    (tmp_path / "content").write_bytes(content)
    with pytest.raises(SettingError, match=why) as caught:
        messages(payload=f"{tmp_path}/content", framing=framing)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_none_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="payload: cannot read '/no/such': no such file"):
        messages(payload="/no/such")
    with pytest.raises(SettingError, match=f"payload: '{tmp_path}' has no messages in it"):
        messages(payload=str(tmp_path))
    with pytest.raises(
        SettingError, match="payload: '/dev/null' is not a file, a folder or a pipe"
    ):
        messages(payload="/dev/null")


def made(payload: Messages, count: int, connection: int = 0) -> list[bytes]:
    return [payload.message(connection, number, 0) for number in range(count)]


@pytest.fixture
def folder(tmp_path: Path) -> str:
    """Three files, and a folder, which is none."""
    for name in "cab":
        (tmp_path / name).write_text(f"the content of {name}")
    (tmp_path / "others").mkdir()
    return str(tmp_path)


IN_TURN = [b"the content of a", b"the content of b", b"the content of c"]


def test_the_files_of_a_folder_are_sent_in_turn_by_name(folder: str) -> None:
    payload = messages(payload=folder)
    assert made(payload, 6) == 2 * IN_TURN
    assert sorted(made(payload, 3, connection=1)) == IN_TURN
    assert made(payload, 3, connection=1) != IN_TURN


def test_they_are_drawn_with_the_seed(folder: str) -> None:
    drawn = [
        made(messages(payload=folder, payload_order="random", seed=seed), 300) for seed in (1, 1, 2)
    ]
    assert drawn[0] == drawn[1] != drawn[2]
    assert set(drawn[0]) == set(IN_TURN)
    assert all(drawn[0].count(each) > 50 for each in IN_TURN)


@pytest.mark.parametrize(
    ("spec", "content"),
    [("line", b"one\ntwo\r\n\n"), ("u16", b"\0\3one\0\3two\0\0"), ("delimiter:;", b"one;two;;")],
)
def test_one_file_has_many_messages(tmp_path: Path, spec: str, content: bytes) -> None:
    (tmp_path / "many").write_bytes(content)
    payload = messages(payload=str(tmp_path / "many"), payload_framing=spec)
    assert made(payload, 4) == [b"one", b"two", b"", b"one"]


def test_a_pipe_is_read_once_however_often_it_is_used(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    writing = threading.Thread(target=path.write_bytes, args=(b"one\ntwo\n",))
    writing.start()
    payload = [messages(payload=str(path), payload_framing="line") for _ in range(2)]
    writing.join()
    assert made(payload[0], 2) == made(payload[1], 2) == [b"one", b"two"]


@pytest.mark.parametrize(
    ("load", "why"),
    [
        ({"payload_framing": "u32"}, "payload: '.*a' is not a stream of u32: "),
        ({"payload_framing": "u33"}, "payload_framing: unknown framing 'u33'"),
        ({"payload_order": "shuffled"}, "payload_order: 'shuffled' is neither turn nor random"),
        ({"payload": "", "payload_order": "random"}, "payload_order: only for a payload"),
        ({"payload": "", "payload_framing": "line"}, "payload_framing: only for a payload"),
    ],
)
def test_messages_that_are_none_are_refused(folder: str, load: dict[str, str], why: str) -> None:
    with pytest.raises(SettingError, match=why) as caught:
        messages(**{"payload": f"{folder}/a"} | load)
    assert "\n" not in str(caught.value)


def test_a_workload_is_read_again_where_its_file_is_not() -> None:
    """As a result's is, on another machine."""
    assert Workload(address="127.0.0.1:1", payload="/no/such").payload == "/no/such"


def test_one_kind_of_message_at_a_time() -> None:
    with pytest.raises(SettingError, match="payload and template: give only one"):
        messages(payload=__file__, template="{number}")


# -- a template


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("hello", b"hello"),
        ("{number} {connection} {time}", b"7 3 1000000000000"),
        ('{{"id": {number:05d}, "hex": "{time:x}"}}', b'{"id": 00007, "hex": "e8d4a51000"}'),
        ("{number!s:>4}|ü", "   7|ü".encode()),
        ("", b""),
    ],
)
def test_fields_are_those_of_the_message(template: str, message: bytes) -> None:
    load = {"template": template} if template else {"size": 0}
    assert messages(**load).message(3, 7, 10**12) == message


@pytest.mark.parametrize(
    ("template", "why"),
    [
        ("{name}", r"template: there is no field \{name\}; write \{number\}, \{connection\} or "),
        ("{}", r"template: there is no field \{\};"),
        ("{0}", r"template: there is no field \{0\};"),
        ("{number.real}", r"template: there is no field \{number.real\};"),
        ("{number[0]}", r"template: there is no field \{number\[0\]\};"),
        ("{number:{connection}}", "template: '{connection}' is not a valid format"),
        ("{number:zz}", "template: unknown format code 'z' for object"),
        ("{number!x}", "template: unknown conversion specifier"),
        ("{number:Q}", "template: unknown format code 'Q' for object"),
        ("{number!Q}", "template: unknown conversion specifier '?Q"),
        ('{"id": {number}}', "template: .*a brace as {{ or }}"),
        ("{number", "template: expected '}' before end of string"),
        ("number}", "template: single '}' encountered in format string; write .*a brace as"),
        ("\ud800", "template: .*surrogates"),
    ],
)
def test_a_template_that_is_none_is_refused_in_one_line(template: str, why: str) -> None:
    with pytest.raises(SettingError, match=why) as caught:
        messages(template=template)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("template", "load", "why"),
    [
        ("{number}\nmore", {"framing": "line"}, "template: a message with LF in it"),
        ("{number}\r", {"framing": "line"}, "template: a message that ends in CR"),
        ("a\0{number}", {"framing": "delimiter:\\0"}, "template: a message with its delimiter"),
        ("x" * 250 + "{number}", {"framing": "u8"}, "template: message of 259 bytes"),
        ("{number:4}", {"framing": "fixed:4"}, "template: message of 9 bytes; fixed:4 takes"),
        ("{connection}", {"framing": "fixed:1"}, "template: message of 2 bytes; fixed:1"),
    ],
)
def test_a_template_that_the_framing_cannot_hold_is_refused(
    template: str, load: dict[str, str], why: str
) -> None:
    with pytest.raises(SettingError, match=f"{why}.*; use another template, or another framing"):
        messages(template=template, **load)


def test_a_template_may_fit_for_as_many_messages_as_there_are() -> None:
    payload = messages(template="{number:4}", framing="fixed:4", messages=10_000)
    assert payload.message(0, 9_999, 0) == b"9999"
    with pytest.raises(SettingError, match="message of 5 bytes; fixed:4 takes 4"):
        messages(template="{number:4}", framing="fixed:4", messages=10_001)


@pytest.mark.parametrize("load", [{"rate": 10}, {"reconnect_every": 5}])
def test_connections_that_take_the_place_of_others_have_numbers_too(load: dict[str, Any]) -> None:
    """An open loop replaces those that it loses, however many these are."""
    template = {"template": "{connection:02d}", "framing": "fixed:2", "connections": 100}
    assert messages(**template).message(99, 0, 0) == b"99"
    with pytest.raises(SettingError, match=r"^template: .*; use another template, or another fr"):
        messages(**template, **load)


# -- a whole run


@pytest.mark.parametrize(
    ("framing", "load"),
    [
        ("u16", {"size": "0..100,1KiB:3", "depth": 4}),
        ("line", {"size": "20..100"}),
        ("line", {"template": '{{"id": {number}, "of": {connection}, "at": {time}}}'}),
        ("u32", {"payload": "content", "depth": 4}),
        ("u32", {"payload": "many", "payload_framing": "line", "payload_order": "random"}),
        ("u32", {"template": "tick {number}", "rate": 1000}),
    ],
)
def test_a_run_verifies_them(
    engine: Engine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    framing: str,
    load: dict[str, Any],
) -> None:
    (tmp_path / "content").write_bytes(bytes(range(256)) * 400)
    (tmp_path / "many").write_bytes(b"".join(b"%d\n" % 10**n for n in range(9)))
    monkeypatch.chdir(tmp_path)
    recorder = Recorder()
    with engine.server(recorder, framing=framing, max_frame="8MiB") as server:
        settings: dict[str, Any] = {"connections": 3, "messages": 100, "warmup": 0, "duration": 10}
        result = run(
            Workload(
                address=server.addresses[0],
                framing=framing,
                engine=engine.name,
                **settings | load,
            )
        )
    recorder.opened.queue.clear()
    assert result.errors == {}
    assert result.messages == 100
    assert result.bytes_sent == result.bytes_received
    if not result.workload.open_loop:  # which asks each connection once before its schedule begins
        assert result.bytes_sent == sum(len(message) for message in recorder.messages.queue)


@pytest.mark.parametrize(
    ("load", "error"),
    [
        ({"payload": "content"}, "short"),
        ({"template": "message {number}"}, "short"),
    ],
)
def test_a_run_finds_the_one_reply_that_is_wrong(
    engine: Engine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    load: dict[str, Any],
    error: str,
) -> None:
    (tmp_path / "content").write_bytes(b"the content")
    monkeypatch.chdir(tmp_path)
    count = iter(range(1000))

    def spoil_the_tenth(message: bytes) -> bytes:
        return message[:-1] if next(count) == 10 else message

    with engine.server(spoil_the_tenth) as server:
        settings: dict[str, Any] = {"connections": 2, "messages": 50, "warmup": 0, "duration": None}
        settings |= load
        result = run(Workload(address=server.addresses[0], engine=engine.name, **settings))
    assert result.errors == {error: 1}
    assert result.messages == 49
