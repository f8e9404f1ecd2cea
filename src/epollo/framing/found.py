"""Framings that the user names as ``module:Name``, as an application is named."""

from __future__ import annotations

import inspect
import re

from epollo.errors import EpolloError, FramingSpecError, HandlerError, SettingError
from epollo.framing.base import DEFAULT_MAX_FRAME, Framing
from epollo.framing.sized import Sized
from epollo.importing import described, find, kind

_PATH = re.compile(r"[A-Za-z_][\w./]*:[A-Za-z_][\w.()]*")


def is_path(spec: str) -> bool:
    """Does ``spec`` look like ``module:Name``?"""
    return _PATH.fullmatch(spec) is not None


def path_of_dotted(spec: str) -> str:
    """``module:Name`` if ``spec`` is ``module.Name``; else empty."""
    module, _, name = spec.rpartition(".")
    path = f"{module}:{name}"
    return path if is_path(path) and name[0].isupper() else ""


def load(path: str, name: str, max_frame: int) -> Framing:
    """The framing that ``path`` names: of a class, a new one, made with ``name`` and ``max_frame``.

    Raises FramingSpecError if there is none; SettingError for an object with another ``max_frame``.
    """
    try:
        found = find(path, "framing")
    except HandlerError as error:
        raise FramingSpecError(str(error)) from error.__cause__
    if inspect.isclass(found) and issubclass(found, Framing):
        return made(found, path, name, max_frame)
    if not isinstance(found, Framing):
        what = f"the class {found.__name__}" if inspect.isclass(found) else kind(found)
        raise FramingSpecError(
            f"framing {path!r} is {what}, not a subclass of epollo.framing.Framing or an object "
            "of one"
        )
    if max_frame not in (DEFAULT_MAX_FRAME, found.max_frame):
        raise SettingError(
            f"max_frame={max_frame} has no effect on the framing object {path!r}: set its own, "
            f"which is {found.max_frame}; or name a class"
        )
    return found


def made(found: type[Framing], path: str, name: str, max_frame: int) -> Framing:
    """A new framing of a user's class. Raises FramingSpecError if it cannot be made."""
    if inspect.isabstract(found):
        lacks = ", ".join(sorted(found.__abstractmethods__))
        raise FramingSpecError(f"framing class {path!r} has no {lacks}; define it")
    try:
        framing = found(name, max_frame)
    except EpolloError:
        raise
    except Exception as error:
        trace = error.__traceback__
        if isinstance(error, TypeError) and trace is not None and trace.tb_next is None:
            raise FramingSpecError(
                f"framing class {path!r} is not made by (name, max_frame): {error}; name an "
                "object of it instead"
            ) from None
        raise FramingSpecError(f"framing class {path!r} raised {described(error)}") from error
    if isinstance(framing, Sized):
        _check_measure(framing, path)
    return framing


def _check_measure(framing: Sized, path: str) -> None:
    """Raise FramingSpecError if the ``measure`` of a framing cannot be called with a header."""
    try:
        signature = inspect.signature(framing.measure)
    except ValueError:  # a compiled function may have none
        return
    try:
        signature.bind(None)
    except TypeError:
        raise FramingSpecError(
            f"framing class {path!r}: measure must take (self, header)"
        ) from None
