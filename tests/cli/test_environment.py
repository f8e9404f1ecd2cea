"""Variables of the environment that are settings, those that are not, and files of them."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from epollo.cli import environment as environment_module
from epollo.cli.environment import check_names, load_file
from epollo.errors import SettingError
from tests.support import Peer, epollo, serving

NAMES = ["bind", "max_frame"]

OF_KUBERNETES = {  # as a container has them if there are Services named epollo and epollo-bench
    "EPOLLO_SERVICE_HOST": "10.0.0.1",
    "EPOLLO_SERVICE_PORT": "8091",
    "EPOLLO_SERVICE_PORT_METRICS": "9091",
    "EPOLLO_PORT": "tcp://10.0.0.1:8091",
    "EPOLLO_PORT_8091_TCP": "tcp://10.0.0.1:8091",
    "EPOLLO_PORT_8091_TCP_PROTO": "tcp",
    "EPOLLO_PORT_8091_TCP_PORT": "8091",
    "EPOLLO_PORT_8091_TCP_ADDR": "10.0.0.1",
    "EPOLLO_WEB_SERVICE_HOST": "10.0.0.2",
    "EPOLLO_WEB_PORT": "tcp://10.0.0.2:80",
}


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The environment of this process, for one test."""
    values: dict[str, str] = {}
    monkeypatch.setattr(environment_module, "os", SimpleNamespace(environ=values))
    return values


@pytest.mark.parametrize(
    "name", [*OF_KUBERNETES, "EPOLLO_NATIVE", "EPOLLO_INTEROP", "EPOLLO_VERSION", "EPOLLOX"]
)
def test_variables_of_others_are_no_settings(name: str, environment: dict[str, str]) -> None:
    environment[name] = OF_KUBERNETES.get(name, "require")
    check_names("EPOLLO_", NAMES, "serve")


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("EPOLLO_MAX_FRAM", "did you mean EPOLLO_MAX_FRAME?"),
        ("EPOLLO_PORT", "write EPOLLO_BIND=HOST:PORT"),
        ("EPOLLO_max_frame", "did you mean EPOLLO_MAX_FRAME?"),
        ("EPOLLO_XYZZY", "unset it; epollo serve --show-config lists all settings"),
        ("EPOLLO_", "unset it"),
    ],
)
def test_an_unknown_variable_is_named_with_the_fix(
    name: str, why: str, environment: dict[str, str]
) -> None:
    environment[name] = "8091"
    with pytest.raises(SettingError) as refused:
        check_names("EPOLLO_", NAMES, "serve")
    assert str(refused.value).startswith(f"no setting {name}: ")
    assert why in str(refused.value)


def test_the_variables_of_another_command_are_not_checked(environment: dict[str, str]) -> None:
    environment |= {"EPOLLO_BENCH_RATE": "1", "EPOLLO_BENCH_RAT": "1"}
    check_names("EPOLLO_", NAMES, "serve", ["EPOLLO_BENCH_"])
    with pytest.raises(SettingError, match=r"^no setting EPOLLO_BENCH_RAT: did you mean EPOLLO_B"):
        check_names("EPOLLO_BENCH_", ["rate"], "bench")


def test_a_file_sets_what_is_not_set(tmp_path: Path, environment: dict[str, str]) -> None:
    environment["A"] = "before"
    file = tmp_path / ".env"
    file.write_text("# comment\nA=after\nexport B='two words'\nC=$D-${B}\nF=\n")
    places = load_file(str(file))
    assert places == {"B": f"{file}:3", "C": f"{file}:4", "F": f"{file}:5"}
    assert environment == {"A": "before", "B": "two words", "C": "$D-two words", "F": ""}


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"A=1\n?\n", r"x\.env:2: not of the form NAME=VALUE"),
        (b"A=1\x00\n", r"x\.env:1: not of the form NAME=VALUE"),
        (b"A=\xff\n", r"'.*x\.env' is not text in UTF-8"),
    ],
)
def test_a_file_with_a_line_that_sets_nothing_is_refused(
    content: bytes, why: str, tmp_path: Path, environment: dict[str, str]
) -> None:
    (tmp_path / "x.env").write_bytes(content)
    with pytest.raises(SettingError, match=why):
        load_file(str(tmp_path / "x.env"))
    assert environment == {}


def test_the_application_and_the_settings_see_the_variables_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "x.env").write_text("ANSWER=42\nEPOLLO_FRAMING=line\nEPOLLO_APP=app:handle\n")
    (tmp_path / "app.py").write_text(
        "import os\n\ndef handle(message):\n    return os.environ['ANSWER'].encode()\n"
    )
    options = ["--env-file", "x.env"]
    with serving(*options, cwd=tmp_path) as server, Peer(server.address) as peer:
        peer.send(b"?\n")
        assert peer.receive(3) == b"42\n"


def test_without_python_dotenv_the_option_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "dotenv.py").write_text("raise ModuleNotFoundError\n")
    env = os.environ | {"PYTHONPATH": f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}"}
    run = epollo("serve", "--env-file", "x.env", env=env)
    assert run.stderr == (
        "epollo: error: --env-file: needs python-dotenv; pip install 'epollo[config]'\n"
    )


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("EPOLLO_MAX_FRAME=huge", "EPOLLO_MAX_FRAME: 'huge' is not a size"),
        ("EPOLLO_MAX_FRAM=1KiB", "no setting EPOLLO_MAX_FRAM: did you mean EPOLLO_MAX_FRAME?"),
        ("EPOLLO_FRAMING=u33", "EPOLLO_FRAMING: unknown framing 'u33'"),
        ("EPOLLO_HIGH_WATER=1GiB", "EPOLLO_HIGH_WATER: is over EPOLLO_MAX_UNSENT, at which"),
    ],
)
def test_an_error_in_a_file_of_variables_has_its_line(line: str, why: str, tmp_path: Path) -> None:
    (tmp_path / "x.env").write_text(f"A=1\n\n{line}\n")
    run = epollo("serve", "--env-file", "x.env", cwd=tmp_path)
    assert run.stderr.startswith(f"epollo: error: x.env:3: {why}")
    assert run.stderr.count("\n") == 1
    assert run.returncode == 2


def test_the_file_of_variables_is_shown_as_the_source(tmp_path: Path) -> None:
    (tmp_path / "x.env").write_text("EPOLLO_CONFIG=x.toml\nEPOLLO_MAX_FRAME=1KiB\n")
    (tmp_path / "x.toml").write_text("framing = 'line'\n")
    run = epollo("serve", "--env-file", "x.env", "--show-config", cwd=tmp_path)
    lines = [" ".join(line.split()) for line in run.stdout.splitlines()]
    assert 'max_frame = "1KiB" # x.env:2: EPOLLO_MAX_FRAME' in lines
    assert 'framing = "line" # x.toml:1' in lines
