"""Which engine there is, and which is taken."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from epollo.child_process import READY
from epollo.engine import NOT_BUILT, available, new_loop
from epollo.errors import EngineMissing
from tests.engines import Engine, every_poller

WITHOUT_NATIVE = "import sys; sys.modules['epollo.engine.native.loop'] = None; "


def without_native(code: str) -> str:
    """What ``code`` prints where the native engine was not built."""
    command = [sys.executable, "-c", WITHOUT_NATIVE + code]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_the_native_engine_is_taken_where_it_was_built() -> None:
    loop = new_loop()
    assert loop.name == available()[0]
    loop.close()


@every_poller
def test_the_loop_tells_its_engine_and_its_poller(engine: Engine) -> None:
    loop = engine.loop()
    assert (loop.name, loop.poller_name) == (engine.name, engine.poller)
    loop.close()


def test_a_poller_that_only_the_python_engine_has_takes_that_one() -> None:
    loop = new_loop("auto", "select")
    assert (loop.name, loop.poller_name) == ("python", "select")
    loop.close()


def test_the_python_engine_is_always_there() -> None:
    assert without_native("import epollo.engine as e; print(e.available())") == "['python']\n"
    assert without_native("import epollo.engine as e; print(e.new_loop().name)") == "python\n"


def test_without_the_native_engine_its_name_is_one_line_with_the_fix() -> None:
    said = without_native(
        "from epollo.engine import new_loop\n"
        "try: new_loop('native')\n"
        "except Exception as error: print(type(error).__name__, error)"
    )
    assert said.startswith("EngineMissing the native engine was not built: reinstall epollo")
    assert said.count("\n") == 1


@pytest.mark.skipif("native" not in available(), reason="the native engine was not built")
def test_the_native_engine_has_no_other_poller_than_epoll() -> None:
    with pytest.raises(EngineMissing, match="the native engine polls with epoll, not select"):
        new_loop("native", "select")


SHOW_READY_LINE = """
import epollo
server = epollo.Server(bind="127.0.0.1:0", engine={engine!r}, poller={poller!r})
server.start()
print(server.ready_line)
server.close()
"""

buildable = pytest.mark.skipif(
    sys.platform != "linux" or sys.implementation.name != "cpython",
    reason="the native engine cannot be built here",
)


@buildable
def test_the_ready_line_says_that_the_native_engine_was_not_built() -> None:
    said = without_native(SHOW_READY_LINE.format(engine="auto", poller="auto"))
    form = r"epollo: serving echo on \S+ \(python engine, epoll, framing u32, 1 worker\); "
    assert re.fullmatch(form + re.escape(NOT_BUILT) + "\n", said)
    assert re.fullmatch(r"127\.0\.0\.1:\d+", READY.findall(said)[0])


@buildable
@pytest.mark.parametrize(("engine", "poller"), [("python", "auto"), ("auto", "select")])
def test_who_asked_for_the_python_engine_is_not_told(engine: str, poller: str) -> None:
    said = without_native(SHOW_READY_LINE.format(engine=engine, poller=poller))
    assert said.endswith(", framing u32, 1 worker)\n")
