"""Every option of ``epollo bench`` can be given in the environment and in a file too."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import click
import pytest

from epollo.cli.configured import Configured
from epollo.cli.main import cli
from tests.support import epollo_here

EXAMPLES = {  # of each kind of value; some are wrong by themselves, as an arrival without a rate
    "N": "7",
    "TIME": "7s",
    "SIZE": "7",
    "RATE": "7",
    "FILE": "x.json",
    "LIMIT": "p99<5ms",
    "ADDR,...": "127.0.0.1,127.0.0.2",
    "NAME": "v1",
    "SPEC": "line",
    "TEXT": "{number}",
    "None": "true",
}


def _options() -> list[click.Parameter]:
    _, bench, _ = cli.resolve_command(click.Context(cli), ["bench"])
    assert isinstance(bench, Configured)
    return [param for param in bench.settings if param.name in bench.keys]


def shown(*arguments: str) -> tuple[dict[str, Any], str]:
    """What ``--show-config`` prints: the values, or the error."""
    run = epollo_here("bench", *arguments, "--show-config")
    assert run.returncode == (2 if run.stderr else 0)
    return tomllib.loads(run.stdout), run.stderr.removeprefix("epollo: error: ")


def words(param: click.Parameter, value: str) -> list[str]:
    if isinstance(param, click.Argument):
        return [value]
    flag = max(param.opts, key=len)
    return [flag] if isinstance(param, click.Option) and param.is_flag else [flag, value]


@pytest.mark.parametrize("param", _options(), ids=lambda param: str(param.name))
def test_an_option_can_be_given_in_three_ways(
    param: click.Parameter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, variable = str(param.name), f"EPOLLO_BENCH_{str(param.name).upper()}"
    value = EXAMPLES.get(str(param.metavar), "127.0.0.1:7")
    values, error = shown(*words(param, value))
    assert bool(error) != (name in values)

    file = tmp_path / "bench.toml"
    file.write_text(f"# a comment\n{name} = {value if value == 'true' else repr(value)}\n")
    in_a_file, in_line = shown("--config", str(file))
    assert in_a_file == values
    assert bool(in_line) == bool(error)
    assert not error or re.search(rf"^{re.escape(str(file))}:2: {name}\b", in_line)

    monkeypatch.setenv(variable, value)
    in_the_environment, of_variable = shown()
    assert in_the_environment == values
    assert bool(of_variable) == bool(error)
    assert not error or re.search(rf"^{variable}\b", of_variable)
