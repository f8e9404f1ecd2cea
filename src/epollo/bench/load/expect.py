"""What a correct reply is: the message, any reply, or one that the user's function accepts."""

from __future__ import annotations

import inspect
import logging
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from epollo.errors import HandlerError, SettingError
from epollo.server.handlers.application import load

Verify: TypeAlias = Callable[[bytes, bytes], bool]
"""Given a message and a reply: is the reply correct?"""

_log = logging.getLogger("epollo.bench")


@dataclass(frozen=True, slots=True)
class Expectation:
    """What a correct reply is.

    Attributes:
        verify: decides about a reply; None if it must equal the message.
        echo, any: is it one of these two built-in expectations?
        check: the user's function, if there is one.
    """

    verify: Verify | None
    echo: bool = False
    any: bool = False
    check: UserCheck | None = None

    def report(self) -> None:
        """At the end of a run: log once what the user's function raised."""
        if self.check is not None:
            self.check.report()


class UserCheck:
    """The user's function. If it raises, the reply counts as wrong. Its first traceback is kept as
    text, because the exception would keep all its local variables alive."""

    def __init__(self, name: str, function: Callable[[bytes, bytes], Any]) -> None:
        self.name = name
        self.raised: int = 0
        self.traceback: str = ""
        self._function = function

    def __call__(self, message: bytes, reply: bytes) -> bool:
        try:
            return bool(self._function(message, reply))
        except Exception:
            self.raised += 1
            self.traceback = self.traceback or traceback.format_exc()
            return False

    def report(self) -> None:
        if self.raised:
            _log.error(
                "expect: %s raised %d times, each of them counted as a wrong reply; the first:\n%s",
                self.name,
                self.raised,
                self.traceback.rstrip(),
            )


def expectation(spec: str) -> Expectation:
    """The expectation that ``spec`` names: ``echo``, ``any``, ``none``, or ``module:function``,
    which is called with the message and the reply, and returns true if the reply is correct.

    Raises SettingError and HandlerError, which name the fix.
    """
    if spec == "echo":
        return Expectation(None, echo=True)
    if spec == "any":
        return Expectation(_any, any=True)
    if spec == "none":
        return Expectation(_any)
    if ":" not in spec:
        raise SettingError(f"expect: {spec!r} is neither echo, any, none nor module:function")
    check = UserCheck(spec, _function(spec))
    return Expectation(check, check=check)


def _any(message: bytes, reply: bytes) -> bool:
    return True


def _function(spec: str) -> Callable[[bytes, bytes], Any]:
    found: Callable[[bytes, bytes], Any] = load(spec, "expect function")
    if not callable(found):
        raise HandlerError(f"expect function {spec!r} cannot be called; name a function")
    if inspect.iscoroutinefunction(found) or inspect.iscoroutinefunction(type(found).__call__):
        raise HandlerError(
            f"expect function {spec!r} is async, and would not be awaited; name a plain function"
        )
    try:
        inspect.signature(found).bind(b"", b"")
    except TypeError:
        raise HandlerError(f"expect function {spec!r} must take (message, reply)") from None
    except ValueError:  # a built-in without a signature
        pass
    return found
