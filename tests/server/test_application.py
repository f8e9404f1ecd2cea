"""Applications: found by name, checked, and called with the parameters they take."""

from __future__ import annotations

import functools
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from epollo.errors import HandlerError
from epollo.server.handlers.application import application, load
from tests.engines import Engine
from tests.support import Peer, frame

CONNECTION: Any = object()


def one(message: bytes) -> Any:
    return message


def two(message: bytes, connection: object) -> Any:
    return connection


def optional(message: bytes, connection: object = None) -> Any:
    return connection


def other_optional(message: bytes, verbose: bool = False) -> Any:
    return verbose


class Method:
    def received(self, message: bytes) -> Any:
        return message


class Callable:
    def __call__(self, message: bytes, connection: object) -> Any:
        return connection


@pytest.mark.parametrize(
    ("handler", "reply"),
    [
        (one, b"message"),
        (two, CONNECTION),
        (optional, CONNECTION),
        (other_optional, False),
        (lambda *arguments: arguments[1], CONNECTION),
        (functools.partial(two, connection=None), None),
        (Method(), b"message"),
        (Callable(), CONNECTION),
        (bytes.upper, b"MESSAGE"),
    ],
)
def test_a_handler_gets_the_connection_if_it_asks_for_it(handler: Any, reply: object) -> None:
    assert application(handler).received(b"message", CONNECTION) == reply


def nothing() -> None: ...


def three(message: bytes, connection: object, more: int) -> None: ...


def keyword(message: bytes, *, more: int) -> None: ...


async def coroutine(message: bytes) -> bytes:
    return message


class Generating(Method):
    async def connected(self, connection: object) -> AsyncIterator[bytes]:
        yield b"welcome"


class Flagged(Method):
    connected = False


class Blind(Method):
    def disconnected(self) -> None: ...


class AsyncConnected(Method):
    async def connected(self, connection: object) -> None: ...


class AsyncCall:
    async def __call__(self, message: bytes) -> bytes:
        return message


@pytest.mark.parametrize(
    ("handler", "why"),
    [
        (42, "'int' is an int: neither a function nor an object with received"),
        (None, "nor an object with received; pass the function itself, not its reply"),
        (b"reply", "nor an object with received; pass the function itself, not its reply"),
        (nothing, "must take"),
        (three, "must take"),
        (keyword, "must take"),
        (Generating(), "'Generating': connected is an async generator function; only received may"),
        (Flagged(), "'Flagged' has a connected that is a bool, not a function"),
        (Blind(), r"'Blind': disconnected must take \(connection, reason\)"),
    ],
)
def test_what_cannot_handle_is_refused(handler: Any, why: str) -> None:
    with pytest.raises(HandlerError, match=why):
        application(handler)


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "app_under_test.py").write_text(
        "class Handler:\n    def received(self, message): return message[::-1]\nnumber = 42\n"
    )
    (tmp_path / "broken_app.py").write_text("import json\n1 / 0\n")
    (tmp_path / "needy_app.py").write_text("import no_such_package\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return "app_under_test"


@pytest.mark.parametrize(
    ("handler", "asynchronous"),
    [
        (one, set()),
        (coroutine, {"received"}),
        (functools.partial(coroutine), {"received"}),
        (AsyncCall(), {"received"}),
        (AsyncConnected(), {"connected"}),
    ],
)
def test_what_is_async_is_known(handler: Any, asynchronous: set[str]) -> None:
    assert application(handler).asynchronous == asynchronous


def test_load_makes_an_object_of_a_class(module: str) -> None:
    assert application(load(f"{module}:Handler")).received(b"abc", CONNECTION) == b"cba"


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("app_under_test", "not of the form module:attribute"),
        (":Handler", "not of the form"),
        ("app_under_test.py:Handler", "names a file; write it as imported: app_under_test:Handler"),
        ("./a/b.py:Handler", "names a file; write it as imported: a.b:Handler"),
        ("app_under_test:", "not of the form"),
        ("app_under_test:handle", "module 'app_under_test' has no 'handle'"),
        ("no_such_app:handle", "module 'no_such_app' not found"),
        ("broken_app:handle", r"ZeroDivisionError: division by zero .*broken_app.py:2"),
        ("needy_app:handle", "ModuleNotFoundError: No module named 'no_such_package'"),
    ],
)
def test_what_cannot_be_loaded_is_one_line_that_says_why(module: str, path: str, why: str) -> None:
    with pytest.raises(HandlerError, match=why) as caught:
        load(path)
    assert "\n" not in str(caught.value)


class OfTheMessage:
    def received(self, message: bytes) -> bytes:
        return message + caller()


def caller() -> bytes:
    """The file of what has called the handler."""
    return Path(sys._getframe(2).f_code.co_filename).name.encode()


@pytest.mark.parametrize(
    "handler",
    [
        lambda message: message + caller(),
        lambda message, _: message + caller(),
        OfTheMessage(),
        OfTheMessage().received,
        functools.partial(lambda _, message: message + caller(), b""),
    ],
    ids=["of the message", "of both", "an object", "a method", "a partial"],
)
def test_nothing_stands_between_the_engine_and_a_plain_handler(
    engine: Engine, handler: Any
) -> None:
    with engine.server(handler) as server, Peer(server.addresses[0]) as peer:
        peer.send(frame(b"from "))
        assert peer.message() not in (b"from application.py", b"from executor.py")


class Hidden:
    """`max` does not tell its parameters."""

    received = staticmethod(max)

    def __init__(self, takes_connection: object) -> None:
        self.takes_connection = takes_connection


@pytest.mark.parametrize("takes_connection", [True, False])
def test_a_built_in_that_hides_its_parameters_is_asked_for_them(takes_connection: bool) -> None:
    handler: Any = Hidden(takes_connection)
    assert application(handler).wants_connection is takes_connection


@pytest.mark.parametrize("handler", [max, Hidden(None), Hidden("yes")], ids=["max", "None", "yes"])
def test_a_built_in_that_hides_its_parameters_is_not_guessed_at(handler: Any) -> None:
    with pytest.raises(HandlerError) as raised:
        application(handler, "fast:handle")
    assert str(raised.value) == (
        "handler 'fast:handle' is compiled and does not tell its parameters; make it the "
        "staticmethod received of an object with takes_connection = True or False"
    )
