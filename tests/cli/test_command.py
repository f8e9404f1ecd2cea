"""Commands say in one line what is wrong, and show the user's traceback if asked."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from epollo.cli.main import cli
from epollo.settings import Settings
from tests.support import epollo, epollo_here

BROKEN = "import json\n\n\ndef load():\n    return json.loads('{')\n\n\nlimits = load()\n"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setattr(logging, "basicConfig", lambda **_: None)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "app_with_an_error.py").write_text(BROKEN)
    yield tmp_path
    sys.modules.pop("app_with_an_error", None)


@pytest.mark.parametrize("command", [("serve",), ("bench", "127.0.0.1:1", "--expect")])
def test_an_import_error_is_one_line_at_the_users_own_line(
    command: tuple[str, ...], here: Path
) -> None:
    run = epollo_here(*command, "app_with_an_error:handle", cwd=here)
    assert run.returncode == 2
    assert run.stderr.count("\n") == 1
    assert f"({here}/app_with_an_error.py:5); --traceback shows all of it" in run.stderr


@pytest.mark.parametrize("command", [("serve",), ("bench", "127.0.0.1:1", "--expect")])
def test_the_traceback_begins_in_the_users_module(command: tuple[str, ...], here: Path) -> None:
    run = epollo(*command, "app_with_an_error:handle", "--traceback", cwd=here)
    first, *lines, last = run.stderr.splitlines()
    assert first == "Traceback (most recent call last):"
    assert lines[0] == f'  File "{here}/app_with_an_error.py", line 8, in <module>'
    assert not any("importlib" in line or "epollo" in line for line in lines)
    assert last.startswith("epollo: error: ")
    assert "--traceback" not in last
    assert run.returncode == 2


def test_a_class_that_raises_has_a_traceback_too(here: Path) -> None:
    (here / "app_with_an_error.py").write_text(
        "class Handler:\n    def __init__(self):\n        self.limit = no_such_name\n"
    )
    run = epollo_here("serve", "app_with_an_error:Handler", "--traceback", cwd=here)
    assert "line 3, in __init__" in run.stderr
    assert "NameError: name 'no_such_name' is not defined" in run.stderr.splitlines()[-1]


@pytest.mark.usefixtures("here")
def test_what_the_user_wrote_keeps_its_case_and_its_names() -> None:
    run = epollo_here("serve", "--log-level", "Max_Frame")
    assert run.stderr.startswith("epollo: error: --log-level: 'Max_Frame' is not one of debug")
    run = epollo_here("serve", "--log-level", "max_frame")
    assert "'max_frame' is not one of" in run.stderr
    run = epollo_here("serve", "--tls-cert", "NoSuch/CERT.PEM")
    assert "--tls-cert: cannot read 'NoSuch/CERT.PEM': no such file or directory" in run.stderr
    run = epollo_here("bench", "NoSuchHost.Invalid:1", "-n", "1", "--template", "{number:Q}")
    assert "unknown format code 'Q'" in run.stderr


def test_a_flag_may_be_repeated_if_it_has_no_value() -> None:
    run = epollo_here("bench", "-q", "-q", "-c", "0")
    assert run.stderr == "epollo: error: --connections: must be at least 1\n"


def test_every_setting_with_a_text_is_an_option() -> None:
    _, serve, _ = cli.resolve_command(click.Context(cli), ["serve"])
    assert serve is not None
    flags = {flag for option in serve.params for flag in option.opts}
    for name in Settings.__slots__:
        assert (f"--{name.replace('_', '-')}" in flags) == (name != "tls")
