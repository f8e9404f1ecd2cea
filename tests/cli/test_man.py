"""The manual page, read with man."""

from __future__ import annotations

import re
import subprocess
from functools import cache
from pathlib import Path

import click
import pytest

from epollo.cli.main import cli
from epollo.settings import given_by_commands
from tests.cli.shells import is_installed
from tests.interop.support import absent
from tests.support import epollo_here

SECTIONS = [
    *("NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "ENVIRONMENT", "FILES", "EXIT STATUS"),
    "EXAMPLES",
]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The page as ``man -l`` shows it; it warns of nothing."""
    if not is_installed("man"):
        absent("man")
    file = tmp_path_factory.mktemp("man") / "epollo.1"
    file.write_text(_source())
    return _read(file)


@cache
def _source() -> str:
    run = epollo_here("man")
    assert (run.stderr, run.returncode) == ("", 0)
    return run.stdout


def _read(file: Path) -> str:
    run = subprocess.run(
        ["man", "--warnings=w", "--no-hyphenation", "--no-justification", "-l", file],
        env={"MANWIDTH": "500", "LC_ALL": "C.UTF-8", "PATH": "/usr/bin:/bin", "MANROFFOPT": "-c"},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert run.stderr == ""
    return re.sub(r".\x08|\x1b\[[0-9;]*m", "", run.stdout)


def test_the_page_has_its_sections_in_order(page: str) -> None:
    assert re.findall(r"^([A-Z][A-Z ]+)$", page, re.MULTILINE) == SECTIONS


def test_man_sees_what_is_no_troff(tmp_path: Path) -> None:
    if not is_installed("man"):
        absent("man")
    (tmp_path / "epollo.1").write_text(_source() + ".NO_SUCH_REQUEST\n")
    with pytest.raises(AssertionError):
        _read(tmp_path / "epollo.1")


def test_the_page_has_every_option_of_every_command(page: str) -> None:
    _, serve, _ = cli.resolve_command(click.Context(cli), ["serve"])
    _, bench, _ = cli.resolve_command(click.Context(cli), ["bench"])
    for command in (serve, bench):
        assert command is not None
        for option in command.params:
            for flag in option.opts if isinstance(option, click.Option) else []:
                assert re.search(rf"^ .*{re.escape(flag)}\b", page, re.MULTILINE), flag


def test_the_page_has_the_commands_for_a_running_server(page: str) -> None:
    for command in ("epollo ctl connections", "epollo ctl log-level", "epollo top"):
        assert re.search(rf"^ +{command}$", page, re.MULTILINE), command


def test_the_page_has_every_setting_and_its_variable(page: str) -> None:
    for setting in given_by_commands():
        variable = f"EPOLLO_{setting.name.upper()}"
        assert re.search(rf"^ *{variable}(, WEB_CONCURRENCY)?$", page, re.MULTILINE), variable
        assert setting.metadata["about"] in " ".join(page.split())
    assert "EPOLLO_BENCH_RATE\n" in page


def test_what_troff_would_take_for_its_own_is_shown_as_it_is(page: str) -> None:
    assert "10k..100k/10s" in page
    assert "epollo bench 127.0.0.1:8091 --rate 10k --fail-if 'p99>5ms'" in page
    assert "EPOLLO(1)" in page
