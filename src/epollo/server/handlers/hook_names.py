"""Methods of a handler object whose names look like misspelt hooks: they would never be called."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import FunctionType, ModuleType
from typing import Any

from epollo.errors import HandlerError

PREFIXES = ("on", "handle")
VERBS = {
    "connect": "connected",
    "disconnect": "disconnected",
    "receive": "received",
    "start": "started",
    "stop": "stopped",
}
ELSEWHERE = {  # asyncio.Protocol; the callbacks of WebSocket libraries
    "connectionmade": "connected",
    "connectionlost": "disconnected",
    "datareceived": "received",
    "onmessage": "received",
    "onopen": "connected",
    "onclose": "disconnected",
}
SIMILAR = 0.85  # difflib's ratio: "connnected" and "stoped" are, "collected" and "sorted" are not


def check_hook_names(handler: object, name: str, hooks: Mapping[str, Sequence[str]]) -> None:
    """Raise HandlerError if ``handler`` has a public method that looks like one of ``hooks``, each
    given with its parameters, under another name, and does not have that hook:

    - a hook's name with letters missing, added or exchanged: ``connnected``;
    - ``on_`` or ``handle_`` before its name or its verb: ``on_connected``, ``on_connect``;
    - its name in asyncio.Protocol, such as ``connection_made``, or in WebSocket libraries;
    - its verb alone, ``connect``, ``disconnect``, ``start`` or ``stop``, if the method has to be
      given at least one argument and at most as many as the hook. A ``start()`` or a
      ``connect(host, port)`` is the object's own.

    Other methods, such as ``reconnected`` or ``is_connected``, are the object's own too.
    """
    for method, call in _methods(handler):
        hook = meant_hook(method, hooks)
        if hook is None or hasattr(handler, hook):
            continue
        if method not in VERBS or 1 <= _required(call) <= len(hooks[hook]):
            raise HandlerError(
                f"handler {name!r} has {method}, which is no hook; did you mean {hook}? If not, "
                f"rename it, to _{method} for example"
            )


def similar_method(handler: object, wanted: str) -> str | None:
    """The public method of ``handler`` that may be ``wanted`` under another name."""
    names = (method for method, _ in _methods(handler))
    return next((method for method in names if meant_hook(method, [wanted])), None)


def meant_hook(method: str, hooks: Mapping[str, object] | Sequence[str]) -> str | None:
    """The one of ``hooks`` that the name ``method`` looks like, if it is not one itself."""
    if method in hooks:
        return None
    plain = method.lower().replace("_", "")
    bare = plain
    for prefix in PREFIXES:
        bare = bare.removeprefix(prefix)
    exact = bare if bare in hooks else ELSEWHERE.get(plain) or VERBS.get(bare)
    if exact is not None:
        return exact if exact in hooks else None
    if any(part in hooks for part in method.split("_")):  # is_connected
        return None
    import difflib  # only here: most programs have no object as their handler

    close = difflib.get_close_matches(bare, hooks, n=1, cutoff=SIMILAR)
    return close[0] if close and close[0] not in bare else None


def _methods(handler: object) -> Iterator[tuple[str, Callable[..., Any]]]:
    """The public functions of an object or, if it is a module, those defined there. Properties
    are not evaluated."""
    for name in dir(handler):
        found = None if name.startswith("_") else _static(handler, name)
        if isinstance(found, FunctionType | staticmethod | classmethod) and not (
            isinstance(handler, ModuleType) and found.__module__ != handler.__name__
        ):
            yield name, getattr(handler, name)


def _static(handler: object, name: str) -> object:
    """The attribute as it stands in the object or in its classes, no property evaluated. Not by
    `inspect.getattr_static`, which in CPython 3.12.1 keeps the class of every object it is given
    (gh-118013)."""
    classes = handler.__mro__ if isinstance(handler, type) else type(handler).__mro__
    for holder in (handler, *classes):
        namespace = getattr(holder, "__dict__", {})
        if name in namespace:
            return namespace[name]
    return None


def _required(call: Callable[..., Any]) -> int:
    """How many positional arguments ``call`` has to be given."""
    parameters = inspect.signature(call).parameters.values()
    return sum(
        p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
        for p in parameters
    )
