"""Framings that the user names as ``module:Name``, as an application is named."""

from __future__ import annotations

import inspect
import re

from epollo.errors import EpolloError, FramingSpecError, HandlerError, SettingError
from epollo.framing.base import DEFAULT_MAX_FRAME, Framing
from epollo.importing import described, find, kind

_PATH = re.compile(r"[A-Za-z_][\w./]*:[A-Za-z_][\w.()]*")


def is_path(spec: str) -> bool:
    """Does ``spec`` look like ``module:Name``?"""
    return _PATH.fullmatch(spec) is not None


def load(path: str, name: str, max_frame: int) -> Framing:
    """The framing that ``path`` names: of a class, a new one, made with ``name`` and ``max_frame``.

    Raises FramingSpecError if there is none; SettingError for an object with another ``max_frame``.
    """
    try:
        found = find(path, "framing")
    except HandlerError as error:
        raise FramingSpecError(str(error)) from error.__cause__
    if inspect.isclass(found) and issubclass(found, Framing):
        return _made(found, path, name, max_frame)
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


def _made(found: type[Framing], path: str, name: str, max_frame: int) -> Framing:
    if inspect.isabstract(found):
        lacks = ", ".join(sorted(found.__abstractmethods__))
        raise FramingSpecError(f"framing class {path!r} has no {lacks}; define it")
    try:
        return found(name, max_frame)
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
