"""The application: a function of messages, or an object with hooks for connections as well."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from epollo.engine import CloseReason, Connection, Reply
from epollo.errors import HandlerError
from epollo.importing import described, find, kind
from epollo.server.handlers.handler import Handler
from epollo.server.handlers.hook_names import check_hook_names, similar_method

HOOKS = {
    "connected": ["connection"],
    "disconnected": ["connection", "reason"],
    "started": ["server"],
    "stopping": ["server"],
    "closing": ["connection"],
    "stopped": ["server"],
    "missed": ["server", "group", "count"],
}
"""The optional hooks of an object, with their parameters."""

Received: TypeAlias = Callable[[bytes, Connection], Reply]


@dataclass(frozen=True, slots=True)
class Application:
    """A checked handler, with every function that can be called."""

    name: str
    receive: Callable[..., Any]  # the user's own function
    wants_connection: bool  # takes (message, connection), not only (message)
    received: Received  # ``receive`` with both parameters
    connected: Callable[[Connection], object]
    disconnected: Callable[[Connection, CloseReason], object]
    started: Callable[[Any], object]  # takes the Server
    stopping: Callable[[Any], object]
    closing: Callable[[Connection], object]
    stopped: Callable[[Any], object]
    missed: Callable[[Any, str, int], object]
    asynchronous: frozenset[str]  # the names of the async ones
    generates: bool = False  # ``receive`` is an async generator function

    def is_async(self, name: str) -> bool:
        return name in self.asynchronous

    def has(self, hook: str) -> bool:
        """Does the application have that hook?"""
        return getattr(self, hook) is not _ignore


def echo(message: bytes, _: Connection) -> bytes:
    """The built-in application: returns every message unchanged."""
    return message


def load(path: str, what: str = "handler") -> Any:
    """The object that ``module:attribute`` names; of a class, an instance. Raises HandlerError,
    whose text calls the object ``what`` and says what is missing."""
    found = find(path, what)
    return _instance(found, path, what) if inspect.isclass(found) else found


def load_application(path: str, *, factory: bool) -> Any:
    """The handler that ``path`` names, or that the ``factory`` returns which it names. Raises
    HandlerError."""
    return load_from_factory(path) if factory else load(path)


def load_from_factory(path: str) -> Any:
    """The handler that the function named by ``module:attribute`` returns. Raises HandlerError."""
    factory = find(path, "factory")
    if inspect.isclass(factory):
        return _instance(factory, path, "factory")
    if not callable(factory):
        raise HandlerError(f"factory {path!r} is {kind(factory)}, not a function")
    if _is(inspect.iscoroutinefunction, factory):
        raise HandlerError(f"factory {path!r} is async; make it a plain function")
    try:
        inspect.signature(factory).bind()
    except ValueError:  # a built-in without a signature
        pass
    except TypeError as error:
        raise HandlerError(
            f"factory {path!r} needs arguments: {error}; without --factory, it is the handler"
        ) from None
    try:
        return factory()
    except (Exception, SystemExit) as error:
        raise HandlerError(f"factory {path!r} raised {described(error)}") from error


def application(handler: Handler, name: str | None = None) -> Application:
    """Check ``handler``. Raises HandlerError if it cannot be called."""
    name = name or str(getattr(handler, "__name__", type(handler).__name__))
    if inspect.isclass(handler):
        raise HandlerError(f"handler {name!r} is a class; pass an instance of it")
    receive: Any = getattr(handler, "received", handler)
    if not callable(receive):
        raise HandlerError(
            f"handler {name!r} is {kind(handler)}: neither a function nor an object with received"
            + _meant_by(handler)
        )
    hooks = {hook: getattr(handler, hook, _ignore) for hook in HOOKS}
    calls = {"received": receive, **hooks}
    for hook, called in hooks.items():
        if _is(inspect.isasyncgenfunction, called):
            raise HandlerError(
                f"handler {name!r}: {hook} is an async generator function; only received may be "
                "one; send each message with connection.send"
            )
    for hook, called in hooks.items():
        _check_hook(name, hook, called)
    check_hook_names(handler, name, HOOKS)
    wants_connection = _wants_connection(handler, receive, name)
    generates = _is(inspect.isasyncgenfunction, receive)
    return Application(
        name=name,
        receive=receive,
        wants_connection=wants_connection,
        received=receive if wants_connection else lambda message, _: receive(message),
        **hooks,
        asynchronous=frozenset(
            n
            for n in calls
            if _is(inspect.iscoroutinefunction, calls[n]) or (n == "received" and generates)
        ),
        generates=generates,
    )


def _meant_by(handler: object) -> str:
    """A hint for ``handler``, which cannot be called: the likely mistake."""
    if handler is None or isinstance(handler, bytes):
        return "; pass the function itself, not its reply"
    near = similar_method(handler, "received")
    return f"; it has {near}: did you mean received?" if near else ""


def _check_hook(name: str, hook: str, called: Any) -> None:
    if not callable(called):
        raise HandlerError(f"handler {name!r} has a {hook} that is {kind(called)}, not a function")
    try:
        inspect.signature(called).bind(*HOOKS[hook])
    except ValueError:  # a built-in without a signature
        pass
    except TypeError:
        takes = ", ".join(HOOKS[hook])
        raise HandlerError(f"handler {name!r}: {hook} must take ({takes})") from None


def _is(form: Callable[[Any], bool], called: Any) -> bool:
    """Is ``called`` a function of that form, or an object whose ``__call__`` is?"""
    return form(called) or form(getattr(called, "__call__", None))  # noqa: B004


def _instance(found: type, path: str, what: str) -> Any:
    try:
        return found()
    except Exception as error:
        if error.__traceback__ is not None and error.__traceback__.tb_next is None:
            raise HandlerError(
                f"{what} class {path!r} needs arguments: {error}; name an instance of it instead"
            ) from None
        raise HandlerError(f"{what} class {path!r} raised {described(error)}") from error


def _wants_connection(handler: Handler, receive: Callable[..., Any], name: str) -> bool:
    try:
        parameters = list(inspect.signature(receive).parameters.values())
    except ValueError:  # a built-in without a signature
        return _told_to_take_connection(handler, name)
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    required = [p for p in positional if p.default is p.empty]
    others = [p for p in parameters if p.kind == p.KEYWORD_ONLY and p.default is p.empty]
    variable = any(p.kind == p.VAR_POSITIONAL for p in parameters)
    if others or len(required) > 2 or not (positional or variable):
        raise HandlerError(f"handler {name!r} must take (message) or (message, connection)")
    return variable or len(required) == 2 or [p.name for p in positional[1:2]] == ["connection"]


def _told_to_take_connection(handler: Handler, name: str) -> bool:
    """A built-in takes a connection or not, and nothing but its author can tell. Methods of bytes,
    such as `bytes.upper`, do not."""
    if getattr(handler, "__objclass__", None) is bytes:
        return False
    told = getattr(handler, "takes_connection", None)
    if isinstance(told, bool):
        return told
    raise HandlerError(
        f"handler {name!r} is compiled and does not tell its parameters; make it the "
        "staticmethod received of an object with takes_connection = True or False"
    )


def _ignore(*_: object) -> None:
    pass
