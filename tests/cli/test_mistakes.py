"""Every mistake of the table is one line on stderr that names the thing and the fix."""

from __future__ import annotations

import logging
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.certificates import Files, encrypt
from tests.cli.mistakes import APPLICATIONS, MISTAKES, Mistake, replaced
from tests.support import epollo, epollo_here, unused


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with what the table names: applications, certificates, and other files."""
    folder = tmp_path_factory.mktemp("mistakes")
    for name, text in APPLICATIONS.items():
        (folder / name).write_text(text)
    files = Files(folder)
    Path(files.settings["tls_cert"]).rename(folder / "cert.pem")
    Path(files.settings["tls_key"]).rename(folder / "key.pem")
    encrypt(folder / "key.pem", folder / "encrypted.pem", "open sesame")
    (folder / "package").mkdir()
    return folder


@pytest.fixture
def places(here: Path) -> Iterator[dict[str, str]]:
    """What the names in capitals of the table stand for."""
    with socket.create_server(("127.0.0.1", 0)) as listener, unused() as closed:
        taken = f"127.0.0.1:{listener.getsockname()[1]}"
        yield {"TAKEN": taken, "CLOSED": closed, "HERE": str(here), "OURS": str(os.getpid())}


@pytest.fixture
def unchanged(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a command changes in its process is undone."""
    monkeypatch.setattr(logging, "basicConfig", lambda **_: None)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    modules = set(sys.modules)
    yield
    for name in set(sys.modules) - modules:
        if f"{name}.py" in APPLICATIONS:
            del sys.modules[name]


def test_there_are_many() -> None:
    typed = [mistake.typed for mistake in MISTAKES]
    assert len(typed) == len(set(typed)) >= 70


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.typed)
@pytest.mark.usefixtures("unchanged")
def test_a_mistake_is_one_line_with_the_fix(
    mistake: Mistake, here: Path, places: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in mistake.environment(places).items():
        monkeypatch.setenv(name, value)
    run = epollo_here(*mistake.words(places), cwd=here)
    assert run.stderr == f"epollo: error: {replaced(mistake.said, places)}\n"
    assert run.returncode == mistake.status
    assert run.stdout == ""


@pytest.mark.parametrize(
    "typed", ["serve --port 80", "serve broken:handle", "bench CLOSED -n 10", "report gone.json"]
)
def test_a_whole_process_says_the_same(typed: str, here: Path, places: dict[str, str]) -> None:
    (mistake,) = (mistake for mistake in MISTAKES if mistake.typed == f"epollo {typed}")
    run = epollo(*mistake.words(places), cwd=here)
    assert run.stderr == f"epollo: error: {replaced(mistake.said, places)}\n"
    assert run.returncode == mistake.status
