"""The application of ``epollo serve``: from a directory, and from a factory."""

from __future__ import annotations

from pathlib import Path

from tests.support import Peer, serving

APP = """\
def create():
    prefix = b"made: "

    def handle(message):
        return prefix + message

    return handle


class Handler:
    def received(self, message):
        return b"class: " + message
"""


def test_an_application_is_found_in_another_directory(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "app_elsewhere.py").write_text(APP)
    options = ["app_elsewhere:Handler", "--app-dir", "there"]
    with serving(*options, cwd=tmp_path) as server, Peer(server.address) as peer:
        assert peer.ask(b"a") == b"class: a"


def test_a_factory_makes_the_handler(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(APP)
    with serving("app:create", "--factory", cwd=tmp_path) as server, Peer(server.address) as peer:
        assert "serving app:create on " in server.ready_line
        assert peer.ask(b"a") == b"made: a"


def test_a_class_is_a_factory_too(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(APP)
    with serving("app:Handler", "--factory", cwd=tmp_path) as server, Peer(server.address) as peer:
        assert peer.ask(b"a") == b"class: a"
