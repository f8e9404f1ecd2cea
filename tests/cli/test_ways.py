"""Every setting can be given on the command line, in the environment, in a file and in Python.

All of it is made from the dataclass: a new setting needs no new test.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import Field, fields
from pathlib import Path
from typing import Any

import pytest

import epollo
from epollo.cli import serve
from epollo.cli.show_config import toml_value
from epollo.errors import SettingError
from epollo.settings import Settings, given_by_commands, takes_several
from tests.support import epollo_here

Values = dict[str, Any]
SETTINGS = list(given_by_commands())

# Every parser takes one of these, and makes something else of it than of its default.
CANDIDATES = ("7", "7s", "7KiB", "no", "yes", "660", "127.0.0.1:7", "some.pem")


def example(setting: Field[Any]) -> str:
    """A value of ``setting`` that is not its default."""
    parse = setting.metadata["parse"]
    for value in (*reversed(setting.metadata["choices"]), *CANDIDATES):
        try:
            if parse(value) != parse(setting.default):
                return str(value)
        except ValueError:
            continue
    raise AssertionError(f"no candidate for {setting.name}: add one")


def with_needed(name: str, value: Any) -> Values:
    """``value`` as that of the setting ``name``, and values for the settings that it needs, too."""
    values = {name: value}
    while needed := _needed(values):
        (other,) = (each for each in SETTINGS if each.name == needed)
        values[other.name] = example(other)
    return values


def _needed(values: Values) -> str:
    """The name of a setting that one of ``values`` needs; empty if there is no such setting."""
    try:
        Settings(**values)
    except SettingError as error:
        text = str(error)
    else:
        return ""
    needed = re.search(r"needs (\w+)", text)
    assert needed is not None, text
    return needed[1]


def shown(*arguments: str) -> tuple[Settings, dict[str, str]]:
    """What ``--show-config`` prints: the settings, and the source of each."""
    run = epollo_here("serve", *arguments, "--show-config")
    assert (run.stderr, run.returncode) == ("", 0)
    values = tomllib.loads(run.stdout)
    rows = [re.fullmatch(r"(?:# )?(\w+).*  # (.*)", line) for line in run.stdout.splitlines()]
    return Settings(**values), {row[1]: row[2] for row in rows if row is not None}


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Settings]:
    """The settings of the server that ``epollo serve`` makes; it is not run."""
    made: list[Settings] = []

    def serve_application(
        _app: str | None, _factory: bool, values: Values, _watched: Sequence[str]
    ) -> None:
        made.append(Settings(**values))

    def settings(*arguments: str) -> Settings:
        run = epollo_here("serve", *arguments)
        assert (run.stderr, run.returncode) == ("", 0)
        return made.pop()

    monkeypatch.setattr(serve, "configure_log", lambda *_, **__: None)
    monkeypatch.setattr(serve, "serve_application", serve_application)
    return settings


def flags(values: Values) -> list[str]:
    return [word for name in values for word in (f"--{name.replace('_', '-')}", values[name])]


def variable(name: str) -> str:
    return f"EPOLLO_{name.upper()}"


every_setting = pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)


@every_setting
def test_a_setting_can_be_given_in_four_ways(
    setting: Field[Any],
    served: Callable[..., Settings],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    values = with_needed(setting.name, example(setting))
    in_python = Settings(**values)
    assert setting.name in in_python.changed

    on_the_command_line, origins = shown(*flags(values))
    assert on_the_command_line == served(*flags(values)) == in_python
    assert origins[setting.name] == f"--{setting.name.replace('_', '-')}"

    file = tmp_path / "epollo.toml"
    file.write_text("\n" + "".join(f'{name} = "{value}"\n' for name, value in values.items()))
    in_a_file, origins = shown("--config", str(file))
    assert in_a_file == served("--config", str(file)) == in_python
    assert origins[setting.name] == f"{file}:2"

    for name, value in values.items():
        monkeypatch.setenv(variable(name), value)
    in_the_environment, origins = shown()
    assert in_the_environment == served() == in_python
    assert origins[setting.name] == variable(setting.name)


@every_setting
def test_a_setting_in_a_file_may_have_the_type_that_python_has(
    setting: Field[Any], tmp_path: Path
) -> None:
    values = with_needed(setting.name, example(setting))
    parsed = getattr(Settings(**values), setting.name)
    file = tmp_path / "epollo.toml"
    others = [f'{name} = "{value}"' for name, value in values.items() if name != setting.name]
    file.write_text("\n".join([f"{setting.name} = {toml_value(parsed)}", *others]))
    assert getattr(shown("--config", str(file))[0], setting.name) == parsed


@every_setting
def test_the_command_line_comes_before_the_environment_and_that_before_a_file(
    setting: Field[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = with_needed(setting.name, example(setting))
    default = with_needed(setting.name, setting.default)
    file = tmp_path / "epollo.toml"
    file.write_text("".join(f'{name} = "{value}"\n' for name, value in values.items()))
    if not setting.default:  # a file's name: there is no text for none
        return
    monkeypatch.setenv(variable(setting.name), default[setting.name])
    settings, origins = shown("--config", str(file))
    assert setting.name not in settings.changed
    assert origins[setting.name] == variable(setting.name)
    settings, origins = shown("--config", str(file), *flags(values))
    assert setting.name in settings.changed
    assert origins[setting.name].startswith("--")


@every_setting
def test_python_does_not_read_the_environment(
    setting: Field[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable(setting.name), example(setting))
    assert epollo.Server(bytes.upper).settings == Settings()


@every_setting
def test_a_wrong_value_is_named_with_its_source(
    setting: Field[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A table in a file, and no text at all, is a value of no setting."""
    file = tmp_path / "epollo.toml"
    file.write_text(f"\n{setting.name} = {{ a = 1 }}\n")
    run = epollo_here("serve", "--config", str(file))
    assert run.stderr.startswith(f"epollo: error: {file}:2: {setting.name}: is a table; write ")
    assert run.stderr.count("\n") == 1
    assert run.returncode == 2


@every_setting
def test_a_misspelt_name_is_found_in_the_environment_and_in_a_file(
    setting: Field[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "epollo.toml"
    file.write_text(f"{setting.name}z = 1\n")
    run = epollo_here("serve", "--config", str(file))
    assert run.stderr.startswith(f"epollo: error: {file}:1: no setting '{setting.name}z': ")
    monkeypatch.setenv(f"{variable(setting.name)}Z", "1")
    run = epollo_here("serve")
    assert run.stderr.startswith(f"epollo: error: no setting {variable(setting.name)}Z: ")
    assert run.returncode == 2


@pytest.mark.parametrize(
    "setting", [each for each in SETTINGS if takes_several(each)], ids=lambda each: each.name
)
@pytest.mark.parametrize("divider", [",", " ", ", ", "\n"])
def test_several_values_are_divided_by_commas_or_spaces(
    setting: Field[Any], divider: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = with_needed(setting.name, example(setting))
    one = values.pop(setting.name)
    monkeypatch.setenv(variable(setting.name), divider.join([one, one]))
    settings, _ = shown(*flags(values))
    assert len(getattr(settings, setting.name)) == 2


def test_an_array_in_the_environment_has_values_with_commas_and_spaces(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("EPOLLO_TLS_CERT", '["my, own.pem", "other.pem"]')
    monkeypatch.setenv("EPOLLO_BIND", "[::1]:0,[::1]:1")  # no array, though it begins like one
    settings, _ = shown()
    assert settings.tls_cert == ("my, own.pem", "other.pem")
    assert settings.bind == ("[::1]:0", "[::1]:1")


def test_an_empty_variable_counts_as_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for setting in SETTINGS:
        monkeypatch.setenv(variable(setting.name), "")
    settings, origins = shown()
    assert settings == Settings()
    assert {origins[setting.name] for setting in SETTINGS} <= {"default", "not set"}


def test_what_is_shown_can_be_used_as_a_file(tmp_path: Path) -> None:
    arguments = ["--bind", "127.0.0.1:0", "--bind", "[::1]:0", "--framing", 'delimiter:\\x7f"']
    run = epollo_here("serve", *arguments, "--show-config")
    file = tmp_path / "epollo.toml"
    file.write_text(run.stdout)
    assert shown("--config", str(file))[0] == shown(*arguments)[0]


def test_each_setting_has_its_section_in_the_help() -> None:
    run = epollo_here("serve", "--help")
    for setting in fields(Settings):
        if setting.metadata["section"]:
            assert f"\n{setting.metadata['section']}:\n" in run.stdout
