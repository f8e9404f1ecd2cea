"""bash, zsh and fish complete commands, options and values."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cli.shells import SHELLS, Session, is_installed, session
from tests.interop.support import absent
from tests.support import epollo_here

APP = """\
import json

def handle(message): ...

async def later(message): ...

class Handler: ...

_private = limit = 5
"""

# What is typed, and the line after the tabulator key.
COMPLETED = {
    "epollo serv": "epollo serve ",
    "epollo lab po": "epollo lab pollers ",
    "epollo serve --max-fr": "epollo serve --max-frame ",
    "epollo serve --framing netst": "epollo serve --framing netstring ",
    "epollo serve --engine nat": "epollo serve --engine native ",
    "epollo serve --poller sel": "epollo serve --poller select ",
    "epollo serve --proxy-protocol req": "epollo serve --proxy-protocol required ",
    "epollo serve --loop uv": "epollo serve --loop uvloop ",
    "epollo serve --tls-cert ce": "epollo serve --tls-cert cert.pem ",
    "epollo serve --config ep": "epollo serve --config epollo.toml ",
    "epollo serve hello:ha": "epollo serve hello:handle ",
    "epollo serve hello:Ha": "epollo serve hello:Handler ",
    "epollo serve hello:li": "epollo serve hello:limit ",
    "epollo bench --arrival po": "epollo bench --arrival poisson ",
    "epollo bench --tls-ca ce": "epollo bench --tls-ca cert.pem ",
    "epollo ctl connec": "epollo ctl connections ",
    "epollo ctl connections --sort id": "epollo ctl connections --sort idle ",
    "epollo ctl --control ep": "epollo ctl --control epollo.toml ",
    "epollo top --onc": "epollo top --once ",
    "epollo completion z": "epollo completion zsh ",
    "epollo serve --max-frame 1MiB --fram": "epollo serve --max-frame 1MiB --fram",  # two of them
    "epollo serve --bogu": "epollo serve --bogu",
}


@pytest.fixture(scope="module", params=SHELLS)
def shell(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Session]:
    name: str = request.param
    if not is_installed(name):
        absent(name)
    folder = tmp_path_factory.mktemp(name)
    with session(name, folder) as started:
        for file in ("cert.pem", "epollo.toml"):
            (folder / "here" / file).touch()
        (folder / "here" / "hello.py").write_text(APP)
        yield started


@pytest.mark.parametrize("typed", COMPLETED)
def test_a_line_is_completed(typed: str, shell: Session) -> None:
    assert shell.completed(typed).rstrip() == COMPLETED[typed].rstrip()


def test_a_shell_that_is_not_known_is_refused() -> None:
    assert epollo_here("completion", "tcsh").returncode == 2
