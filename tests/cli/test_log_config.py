"""``--log-config``: Python's logging, configured by a file."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.support import Peer, epollo, serving

LOGGING: dict[str, Any] = {
    "version": 1,
    "formatters": {"short": {"format": "%(levelname)s|%(name)s|%(message)s"}},
    "handlers": {
        "file": {"class": "logging.FileHandler", "filename": "x.log", "formatter": "short"}
    },
    "root": {"level": "DEBUG", "handlers": ["file"]},
}

YAML = """\
version: 1
formatters: {short: {format: "%(levelname)s|%(name)s|%(message)s"}}
handlers: {file: {class: logging.FileHandler, filename: x.log, formatter: short}}
root: {level: DEBUG, handlers: [file]}
"""

INI = """\
[loggers]
keys=root
[handlers]
keys=file
[formatters]
keys=short
[logger_root]
level=DEBUG
handlers=file
[handler_file]
class=FileHandler
formatter=short
args=("x.log",)
[formatter_short]
format=%(levelname)s|%(name)s|%(message)s
"""

FILES = {"log.json": json.dumps(LOGGING), "log.yaml": YAML, "log.yml": YAML, "log.ini": INI}


def log_of(folder: Path, *options: str) -> str:
    """What a server logs to the file, up to its end."""
    with serving(*options, cwd=folder) as server:
        with Peer(server.address) as peer:
            peer.ask(b"a")
        server.signal(signal.SIGTERM)
        assert server.wait() == 0
        assert server.log == []
    return (folder / "x.log").read_text()


@pytest.mark.parametrize("name", FILES)
def test_the_log_is_that_of_the_file(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(FILES[name])
    assert "DEBUG|epollo" in log_of(tmp_path, "--log-config", name)


def test_a_level_that_is_given_is_that_of_epollos_loggers(tmp_path: Path) -> None:
    (tmp_path / "log.json").write_text(FILES["log.json"])
    log = log_of(tmp_path, "--log-config", "log.json", "--log-level", "error")
    assert "DEBUG|epollo" not in log


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("log.json", "{", "Expecting property name enclosed in double quotes"),
        ("log.json", '{"version": 2}', "Unsupported version: 2"),
        ("log.yaml", "a: [", "while parsing a flow node"),
        ("log.yaml", "just text", "is not a table of settings for logging"),
        ("log.ini", "nothing", "contains no section headers"),
    ],
)
def test_a_wrong_file_is_one_line(name: str, text: str, why: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    run = epollo("serve", "--log-config", name, cwd=tmp_path)
    assert run.stderr.startswith(f"epollo: error: --log-config: {name}: ")
    assert why in run.stderr
    assert run.stderr.count("\n") == 1
    assert run.returncode == 2


def test_without_pyyaml_the_option_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "yaml.py").write_text("raise ModuleNotFoundError\n")
    (tmp_path / "log.yaml").write_text(YAML)
    env = os.environ | {"PYTHONPATH": f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}"}
    run = epollo("serve", "--log-config", "log.yaml", cwd=tmp_path, env=env)
    assert run.stderr == (
        "epollo: error: --log-config: log.yaml: needs PyYAML; pip install 'epollo[config]'\n"
    )
