"""A method that looks like a hook under another name is refused; the object's own are not."""

from __future__ import annotations

import gc
import sys
import weakref
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from epollo.errors import HandlerError
from epollo.server.handlers.application import HOOKS, application
from epollo.server.handlers.handler import BaseHandler


def handler(**methods: Any) -> Any:
    """An instance of a class with ``received`` and ``methods``."""
    return type("Service", (), {"received": lambda _, message: message, **methods})()


def taking(count: int) -> Callable[..., None]:
    """A method with so many parameters."""
    names = ", ".join(["self", "one", "two", "three"][: count + 1])
    function: Callable[..., None] = eval(f"lambda {names}: None")  # noqa: S307
    return function


@pytest.mark.parametrize(
    ("name", "parameters", "hook"),
    [
        ("connnected", 1, "connected"),
        ("conected", 1, "connected"),
        ("dissconnected", 2, "disconnected"),
        ("disconnceted", 2, "disconnected"),
        ("stoped", 1, "stopped"),
        ("strated", 0, "started"),
        ("Connected", 1, "connected"),
        ("on_connect", 1, "connected"),
        ("on_connected", 0, "connected"),
        ("onDisconnect", 2, "disconnected"),
        ("handle_connect", 1, "connected"),
        ("on_close", 2, "disconnected"),
        ("connection_made", 1, "connected"),
        ("connection_lost", 1, "disconnected"),
        ("connect", 1, "connected"),
        ("disconnect", 1, "disconnected"),
        ("disconnect", 2, "disconnected"),
        ("start", 1, "started"),
        ("stop", 1, "stopped"),
    ],
)
def test_a_misspelt_hook_is_refused(name: str, parameters: int, hook: str) -> None:
    why = f"^handler 'Service' has {name}, which is no hook; did you mean {hook}"
    with pytest.raises(HandlerError, match=why):
        application(handler(**{name: taking(parameters)}))


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("start", 0),
        ("stop", 0),
        ("stop", 2),
        ("connect", 0),
        ("connect", 2),
        ("disconnect", 0),
        ("disconnect", 3),
        ("receive", 1),
        ("is_connected", 0),
        ("reconnected", 1),
        ("restarted", 0),
        ("collected", 1),
        ("selected", 1),
        ("sorted", 1),
        ("connection", 1),
        ("close", 1),
        ("shutdown", 1),
        ("_on_connect", 1),
        ("handle", 2),
    ],
)
def test_a_method_of_its_own_is_not(name: str, parameters: int) -> None:
    application(handler(**{name: taking(parameters)}))


def test_a_method_is_its_own_where_the_hook_is_there() -> None:
    application(handler(connected=taking(1), connect=taking(1), on_connect=taking(1)))
    application(type("Derived", (BaseHandler,), {"received": taking(1), "start": taking(1)})())


def test_what_is_no_function_is_not_looked_at() -> None:
    def fail(self: object) -> None:
        raise AssertionError("a property was asked for")

    application(handler(on_connect=property(fail), Connected=type("Connected", (), {}), start=3))
    application(SimpleNamespace(received=lambda message: message, stop=None))


def test_functions_that_a_module_has_imported_are_not_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "hooked_app.py").write_text(
        "from epollo import connect\ndef received(message): return message\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    import hooked_app  # type: ignore[import-not-found]

    try:
        application(hooked_app)
        hooked_app.start = taking(0)  # its self is the server
        hooked_app.start.__module__ = "hooked_app"
        with pytest.raises(HandlerError, match=r"has start, .* did you mean started"):
            application(hooked_app)
    finally:
        del sys.modules["hooked_app"]


@pytest.mark.parametrize("name", ["recieved", "receive", "on_message", "data_received"])
def test_an_object_without_received_is_told_of_what_looks_like_it(name: str) -> None:
    service = type("Service", (), {name: taking(1)})()
    with pytest.raises(HandlerError, match=f"; it has {name}: did you mean received"):
        application(service)


def test_the_base_class_has_every_hook() -> None:
    assert {name for name in vars(BaseHandler) if not name.startswith("_")} == set(HOOKS)


def test_the_class_of_a_handler_is_not_kept() -> None:
    service = handler(connect_to=taking(1))
    application(service)
    kept = weakref.ref(type(service))
    del service
    gc.collect()
    assert kept() is None
