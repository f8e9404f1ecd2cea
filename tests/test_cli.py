"""The command line: its errors are one line that names the thing and the fix."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest

import epollo as package
from epollo import address
from epollo.engine import available
from tests.support import Peer, epollo, serving


@pytest.mark.parametrize(
    ("arguments", "status", "why"),
    [
        (["serve", "--framing", "u33"], 2, "unknown framing 'u33': did you mean u32?"),
        (["serve", "--bind", "8091"], 2, "bad address '8091': no host; write 127.0.0.1:8091"),
        (["serve", "--bind", "192.0.2.1:0"], 1, "cannot listen on 192.0.2.1:0: cannot assign"),
        (["serve", "--bind", "unix:/no/such/socket"], 1, "unix:/no/such/socket: no such file or"),
        (["serve", "--bind", "fd://1000"], 1, "cannot listen on fd://1000: no such descriptor"),
        (["serve", "--socket-mode", "rw"], 2, "--socket-mode: 'rw' is not a mode such as '660'"),
        (["serve", "no_such_app:handle"], 2, "module 'no_such_app' not found"),
        (["serve", "json:handle"], 2, "module 'json' has no 'handle'"),
        (["serve", "json:__name__"], 2, "'json:__name__' is a str: neither a function nor"),
        (["serve", "json"], 2, "not of the form module:attribute"),
        (["serve", "--max-frame", "huge"], 2, "--max-frame: 'huge' is not a size such as 64KiB"),
        (["serve", "--frame-timeout", "never"], 2, "250ms, 10s or 1m; write 0 for no limit"),
        (["serve", "--max-connections", "all"], 2, "100 or 10k; write none for no limit"),
        (["serve", "--poller", "epol"], 2, "no poller 'epol' on this machine; there are epoll"),
        (["serve", "--engine", "warp"], 2, "no engine 'warp' in this installation; there are"),
        (["serve", "--log-level", "loud"], 2, "--log-level: 'loud' is not one of debug"),
        (["serve", "--no-such-flag"], 2, "no option --no-such-flag: epollo serve --help lists"),
        (["sevre"], 2, "no command sevre: did you mean serve?"),
    ],
)
def test_an_error_is_one_line_with_the_fix(arguments: list[str], status: int, why: str) -> None:
    run = epollo(*arguments)
    assert run.returncode == status
    assert run.stdout == ""
    assert run.stderr.startswith("epollo: error: ")
    assert why in run.stderr
    assert run.stderr.count("\n") == 1


def test_a_port_taken_is_one_line_and_status_1() -> None:
    with address.listen(address.parse("127.0.0.1:0"), 1) as taken:
        where = str(address.of(taken.getsockname()))
        run = epollo("serve", "--bind", where)
    assert run.returncode == 1
    assert run.stderr.startswith(f"epollo: error: cannot listen on {where}: address already in use")
    assert run.stderr.count("\n") == 1


def test_an_app_is_found_in_the_working_directory(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("def handle(message):\n    return message[::-1]\n")
    with serving("app:handle", cwd=tmp_path) as server, Peer(server.address) as peer:
        assert "serving app:handle on " in server.ready_line
        assert peer.ask(b"abc") == b"cba"


def test_version_tells_the_engines() -> None:
    engines = ", ".join(available())
    assert epollo("--version").stdout == f"epollo {package.__version__} (engines: {engines})\n"


@pytest.mark.parametrize("command", ["serve", "bench", "lab"])
def test_help_names_every_flag(command: str) -> None:
    run = epollo(command, "--help")
    assert run.returncode == 0
    assert "--help" in run.stdout


def with_descriptors(soft: int, hard: int) -> list[str]:
    """Start a command with these descriptor limits."""
    return ["sh", "-c", f'ulimit -Sn {soft} && ulimit -Hn {hard} && exec "$@"', "sh"]


MANY = ("--max-connections", "10k")


def test_serve_raises_the_limit_of_descriptors_for_its_connections() -> None:
    hard = min(20_000, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    with serving(*MANY, launcher=with_descriptors(256, hard)) as server:
        soft, _ = resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE)
    assert soft >= min(10_000, hard)


def test_serve_warns_of_a_limit_of_descriptors_that_is_too_low() -> None:
    with serving(*MANY, launcher=with_descriptors(256, 512)) as server:
        soft, _ = resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE)
        log = server.log
    assert soft == 512
    (line,) = log
    assert "max_connections is 10000, but the limit of descriptors allows about 384; raise" in line
