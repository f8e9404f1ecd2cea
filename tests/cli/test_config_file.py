"""A file of settings: the line of each key, and what is not taken."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from epollo.cli.config_file import ConfigFile
from epollo.cli.show_config import toml_value
from epollo.errors import SettingError
from tests.support import Peer, epollo, serving

TEXT = '''\
# a comment
a = 1

"b" = """
c = 2
"""
d = [
  # d = 3
  "e = 4",

  "]",
]   # the end
  f.g = 5

'h' = {i = 6}
[j]
k = 7
'''


def test_show_config_hides_a_password(tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_text('broker = "nats://me:secret@one, nats://two/chat"\n')
    run = epollo("serve", "--config", "x.toml", "--show-config", cwd=tmp_path)
    assert "secret" not in run.stdout
    (line,) = (line for line in run.stdout.splitlines() if line.startswith("broker"))
    assert tomllib.loads(line) == {"broker": "nats://me:***@one, nats://two/chat"}
    assert line.endswith("# x.toml:1; write the password in place of ***")


def test_what_show_config_hid_has_to_be_written(tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_text('broker = "nats://me:***@one"\n')
    run = epollo("serve", "--config", "x.toml", cwd=tmp_path)
    assert run.returncode == 2
    assert run.stderr == (
        "epollo: error: x.toml:1: broker: 'nats://me:***@one': *** stands for a password that was "
        "not shown; write it\n"
    )


def file_of(folder: Path, text: str) -> str:
    path = folder / "epollo.toml"
    path.write_text(text)
    return str(path)


def test_each_key_is_found_on_the_line_on_which_it_begins(tmp_path: Path) -> None:
    path = file_of(tmp_path, TEXT)
    file = ConfigFile(path)
    places = {"a": 2, "b": 4, "d": 7, "f": 13, "h": 15, "j": 16}
    assert set(file.values) == set(places)
    assert {key: file.place(key) for key in places} == {
        key: f"{path}:{line}" for key, line in places.items()
    }


def test_a_last_line_without_an_end_has_a_number_too(tmp_path: Path) -> None:
    path = file_of(tmp_path, "a = 1\r\n\r\nb = 2")
    assert ConfigFile(path).place("b") == f"{path}:3"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a = 1\nb = \n", ":2: "),
        ("a = 1\na = 2\n", ":2: "),
        ("a = 1\n\nb = [\n", ":3: "),
        ("a = 'x\n", ":1: "),
        ('\n\na = """\nx\n', ":4: "),
        ("a = " + "[" * 100_000, "epollo.toml"),
    ],
)
def test_what_is_not_toml_is_named_with_its_line(text: str, why: str, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=re.escape(why)) as refused:
        ConfigFile(file_of(tmp_path, text))
    assert "\n" not in str(refused.value)


def test_what_is_not_text_is_named_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "epollo.toml"
    path.write_bytes(b"a = 1\nb = '\xff'\n")
    with pytest.raises(SettingError, match=r"epollo\.toml:2: is not text in UTF-8"):
        ConfigFile(str(path))


VALUES = st.one_of(
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
    st.text(st.characters(exclude_categories=["Cs"])),
)


@given(st.one_of(VALUES, st.lists(VALUES)))
def test_a_value_is_written_as_toml_reads_it(value: object) -> None:
    assert tomllib.loads(f"a = {toml_value(value)}") == {"a": value}


def test_a_server_takes_its_settings_from_the_environment_and_a_file(tmp_path: Path) -> None:
    (tmp_path / "upper.py").write_text("def handle(message):\n    return message.upper()\n")
    path = file_of(tmp_path, "app = 'upper:handle'\nframing = 'u8'\nbind = '127.0.0.1:0'\n")
    env = {"EPOLLO_FRAMING": "line", "EPOLLO_CONFIG": path}
    with serving(bind=None, env=env, cwd=tmp_path) as server, Peer(server.address) as peer:
        assert "serving upper:handle on " in server.ready_line
        assert "framing line" in server.ready_line
        peer.send(b"hello\n")
        assert peer.receive(6) == b"HELLO\n"


def test_the_server_of_a_load_test_takes_none_of_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("EPOLLO_MAX_CONNECTIONS", "1")  # less than the test makes
    monkeypatch.setenv("EPOLLO_BENCH_MESSAGES", "10")
    run = epollo("bench", "-c", "2", "--warmup", "0")
    assert (run.stderr, run.returncode) == ("", 0)


def test_a_load_test_takes_its_workload_from_a_file(tmp_path: Path) -> None:
    path = file_of(
        tmp_path,
        "connections = 2\nmessages = 20\nwarmup = 0\nsize = '1KiB'\njson = '-'\n"
        "fail_if = ['errors>0', 'p50>60s']\nsource = ['127.0.0.1', '127.0.0.2']\n",
    )
    run = epollo("bench", "--config", path, "--size", "32")
    assert (run.stderr, run.returncode) == ("", 0)
    assert re.search(r'"messages": 20,', run.stdout)
    assert re.search(r'"size": "?32"?,', run.stdout)
