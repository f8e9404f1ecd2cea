"""What people know from other programs: every answer names an option that exists."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

import click
import pytest

from epollo.cli.main import cli
from epollo.foreign_names import (
    _OF_CTL,
    _TABLES,
    COMMANDS,
    advice,
    command_for,
    command_of_ctl_for,
)


@pytest.mark.parametrize("table", _TABLES)
def test_every_option_that_an_answer_names_exists(table: str) -> None:
    known = {option.name for command in _commands(table) for option in command.params}
    named = {name for text in _TABLES[table].values() for name in re.findall(r"\{(\w+)", text)}
    assert named
    assert named - known == set()


@pytest.mark.parametrize("table", _TABLES)
def test_each_name_has_one_answer(table: str) -> None:
    names = Counter(name for names in _TABLES[table] for name in names.split())
    assert [name for name, times in names.items() if times > 1] == []


def test_every_command_meant_exists() -> None:
    commands = {name for name in COMMANDS if not name.startswith("-")}
    assert commands == set(cli.list_commands(click.Context(cli)))
    assert command_for("Server") == "serve"
    assert command_for("--version") == "--version"
    assert command_for("cook") == ""


def test_every_command_of_ctl_meant_exists() -> None:
    known = {command.name: command for command in _commands("ctl")}
    for command, names in _OF_CTL.items():
        name, *options = command.split()
        flags = {flag for option in known[name].params for flag in option.opts}
        assert flags.issuperset(options)
        assert not known.keys() & set(names.split())
    assert command_of_ctl_for("Stop") == "drain --all"
    assert command_of_ctl_for("cook") == ""


def test_an_answer_has_the_form_of_its_place() -> None:
    def in_python(setting: str, value: str) -> str:
        return f"{setting}={value}"

    assert advice("serve", "host", in_python).endswith("write bind=HOST:PORT")
    assert advice("serve", "ssl_certfile", in_python) == "write tls_cert=FILE"
    assert advice("serve", "H", in_python).endswith("write bind=HOST:PORT")
    assert advice("serve", "unheard_of", in_python) == ""
    assert advice("no such table", "host", in_python) == ""


def _commands(name: str) -> Iterator[click.Command]:
    """The command, or those of the group, with this name."""
    _, command, _ = cli.resolve_command(click.Context(cli), [name])
    assert command is not None
    yield from command.commands.values() if isinstance(command, click.Group) else [command]
