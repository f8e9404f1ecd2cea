"""The fixture `epollo_bench`, as its page shows it: it passes a good server and fails a bad one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.documents import ROOT, Document

PAGE = Document(ROOT / "docs" / "testing.md").module
# What any machine keeps, however busy it is, in place of what the page shows.
WIDE = PAGE.replace("percentile(99) < 100e6", "percentile(99) < 10e9").replace("> 100\n", "> 1\n")
ECHO = "lambda message: message)"
RIGHT = "return reply == message.upper()"

FIELDS = """
def test_what_is_given_and_what_is_not(epollo_server, epollo_bench):
    server = epollo_server(lambda message: message)
    result = epollo_bench(server.addresses[0], messages=100, connections=2, warmup=0)
    assert result.messages == 100 and result.workload.duration is None
    assert result.workload.connections == 2
    assert not result.failed
    result = epollo_bench(server.addresses[0], duration=0.1)
    assert (result.workload.connections, result.workload.duration) == (10, 0.1)
"""


def run(folder: Path, module: str, *arguments: str) -> str:
    """What pytest says of a module of tests."""
    (folder / "test_shout.py").write_text(module)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "pytest_epollo", "-W", "error"]
    done = subprocess.run(
        [*command, *arguments],
        cwd=folder,
        env=os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.stdout + done.stderr


def test_the_pages_tests_pass_and_the_fields_are_a_workloads(tmp_path: Path) -> None:
    assert WIDE.count("10e9") == 1
    assert WIDE.count("result.rate > 1\n") == 1
    said = run(tmp_path, WIDE + FIELDS, "-k", "under_load or given")
    assert "3 passed" in said, said


@pytest.mark.parametrize(
    ("good", "bad", "why"),
    [
        (ECHO, "lambda message: __import__('time').sleep(0.02) or message)", "percentile(99) <"),
        (ECHO, "lambda message: message[:-1])", "assert result.errors == {}"),
        (RIGHT, "return reply == message.lower()", "assert not result.failed"),
    ],
    ids=["slow", "short", "wrong"],
)
def test_a_bad_server_fails_the_pages_test(tmp_path: Path, good: str, bad: str, why: str) -> None:
    assert PAGE.count(good) == 1
    test = "test_under_load" if good == ECHO else "test_shout_under_load"
    said = run(tmp_path, PAGE.replace(good, bad), "-k", test)
    assert "1 failed" in said, said
    failed = [line for line in said.splitlines() if line.startswith(">")]
    assert len(failed) == 1
    assert why in failed[0]
