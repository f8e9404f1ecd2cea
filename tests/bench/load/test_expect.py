"""What a right reply is, by the two words there are and by functions of the user's."""

from __future__ import annotations

from pathlib import Path

import pytest

from epollo.bench import Workload, run
from epollo.bench.load.expect import expectation
from epollo.errors import HandlerError, SettingError, UsageError
from tests.engines import Engine
from tests.logs import Log

FUNCTIONS = """
def upper(message, reply):
    return message.upper() == reply

def count(message, reply):
    return len(reply)

def broken(message, reply):
    return reply[100] == message[100]

async def waits(message, reply):
    return True

def alone(message):
    return True

class Sequence:
    def __init__(self):
        self.last = 0
    def __call__(self, message, reply):
        self.last, before = int(reply), self.last
        return self.last == before + 1

class Waits:
    async def __call__(self, message, reply):
        return True

def other(message, reply):
    return message != reply

number = 5
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a module in the present directory, another one for each test."""
    name = f"checks_{abs(hash(tmp_path))}"
    (tmp_path / f"{name}.py").write_text(FUNCTIONS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return name


def test_an_echo_is_compared_by_the_tester_itself() -> None:
    echo = expectation("echo")
    assert (echo.verify, echo.echo, echo.any) == (None, True, False)


def test_any_reply_is_right() -> None:
    anything = expectation("any")
    assert (anything.echo, anything.any) == (False, True)
    assert anything.verify is not None
    assert anything.verify(b"message", b"") is True


def test_a_function_decides(module: str, log: Log) -> None:
    expected = expectation(f"{module}:upper")
    assert (expected.echo, expected.any) == (False, False)
    assert expected.verify is not None
    assert expected.verify(b"hello", b"HELLO") is True
    assert expected.verify(b"hello", b"hello") is False
    expected.report()
    assert log.take() == []


def test_what_is_true_is_right(module: str) -> None:
    verify = expectation(f"{module}:count").verify
    assert verify is not None
    assert (verify(b"", b"five!"), verify(b"", b"")) == (True, False)


def test_a_class_is_made_into_an_object_that_may_remember(module: str) -> None:
    verify = expectation(f"{module}:Sequence").verify
    assert verify is not None
    assert [verify(b"", reply) for reply in (b"1", b"2", b"4")] == [True, True, False]


def test_one_that_raises_is_wrong_and_told_once_with_its_traceback(module: str, log: Log) -> None:
    expected = expectation(f"{module}:broken")
    assert expected.verify is not None
    assert [expected.verify(b"x" * 200, b"short") for _ in range(3)] == [False] * 3
    assert expected.verify(b"x" * 200, b"x" * 200) is True
    assert log.take() == []
    expected.report()
    [line] = log.take()
    assert f"expect: {module}:broken raised 3 times, each of them counted as a wrong" in line
    assert line.endswith("IndexError: index out of range")
    assert line.count("return reply[100] == message[100]") == 1


@pytest.mark.parametrize(
    ("spec", "kind", "why"),
    [
        ("ecoh", SettingError, "expect: 'ecoh' is neither echo, any, none nor module:function"),
        ("", SettingError, "expect: '' is neither echo, any, none nor module:function"),
        (":upper", HandlerError, "expect function ':upper' is not of the form module:attribute"),
        ("no_such:upper", HandlerError, "expect function module 'no_such' not found here"),
        ("{}:none", HandlerError, "expect function '{}:none' not found: module '{}' has no 'none'"),
        ("{}:number", HandlerError, "expect function '{}:number' cannot be called"),
        ("{}:waits", HandlerError, "expect function '{}:waits' is async"),
        ("{}:Waits", HandlerError, "expect function '{}:Waits' is async"),
        ("{}:alone", HandlerError, r"expect function '{}:alone' must take \(message, reply\)"),
    ],
)
def test_what_cannot_judge_is_refused_in_one_line(
    module: str, spec: str, kind: type[UsageError], why: str
) -> None:
    with pytest.raises(kind, match=why.replace("{}", module)) as caught:
        expectation(spec.replace("{}", module))
    assert "\n" not in str(caught.value)


def test_a_module_that_breaks_says_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken_checks.py").write_text("1 / 0\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(
        HandlerError, match=r"expect function module .*ZeroDivisionError.*broken_checks\.py:1\)"
    ):
        expectation("broken_checks:upper")


@pytest.mark.parametrize(
    ("expect", "errors"),
    [
        ("any", {}),
        ("{}:upper", {}),
        ("echo", {"wrong_bytes": 50}),
        ("{}:broken", {"wrong_bytes": 50}),
        ("{}:other", {"wrong_bytes": 50}),
    ],
)
def test_a_server_that_does_not_echo(
    engine: Engine, module: str, log: Log, expect: str, errors: dict[str, int]
) -> None:
    answer = bytes if expect.endswith("other") else bytes.upper
    with engine.server(lambda message: answer(message), framing="line") as server:
        result = run(
            Workload(
                address=server.addresses[0],
                connections=2,
                messages=50,
                duration=None,
                warmup=0,
                framing="line",
                template="message {number}",
                expect=expect.replace("{}", module),
                engine=engine.name,
            )
        )
    assert result.errors == errors
    assert result.messages == 50 - sum(errors.values())
    told = [line.partition("; the first:")[0] for line in log.take()]
    raised = f"expect: {module}:broken raised 50 times, each of them counted as a wrong reply"
    assert told == ([raised] if "broken" in expect else [])
