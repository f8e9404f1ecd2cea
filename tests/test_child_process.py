"""Child processes: what is read of their stdout, and their end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from epollo.child_process import child_process, first_line, ready_address
from epollo.errors import EpolloError


def test_the_ready_line_has_the_address() -> None:
    code = "print('epollo: serving echo on 127.0.0.1:8091 (u32)', flush=True); input()"
    with child_process(_python(code), stdin=subprocess.PIPE) as process:
        assert ready_address(process) == "127.0.0.1:8091"
        assert os.getsid(process.pid) == process.pid  # out of the terminal's reach
    assert process.returncode == 1  # EOFError: its stdin has ended


def test_a_first_line_without_its_end_is_what_came() -> None:
    with child_process(_python("print('half', end='')")) as process:
        assert first_line(process) == "half"


def test_a_silent_process_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("epollo.child_process.START_SECONDS", 0.1)
    with (
        child_process(_python("import time; time.sleep(60)")) as process,
        pytest.raises(EpolloError, match=r"^not ready within 0\.1 s$"),
    ):
        first_line(process)
    assert process.returncode == -signal.SIGTERM


def test_a_process_that_ignores_sigterm_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("epollo.child_process.END_SECONDS", 0.1)
    code = (
        "import signal, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "print('deaf', flush=True)\n"
        "time.sleep(60)"
    )
    with child_process(_python(code)) as process:
        assert first_line(process) == "deaf"
    assert process.returncode == -signal.SIGKILL


def _python(code: str) -> list[str]:
    return [sys.executable, "-c", code]
