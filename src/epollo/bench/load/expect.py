"""What a right reply is: the message itself, any at all, or what a function of the user's says."""

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
"""Is that message answered rightly by that reply?"""

_log = logging.getLogger("epollo.bench")


@dataclass(frozen=True, slots=True)
class Expectation:
    """``verify`` is None where the reply has to be the message, to the byte.

    ``echo`` and ``any`` say which of the two built-in ones it is, ``judge`` the user's function.
    """

    verify: Verify | None
    echo: bool = False
    any: bool = False
    judge: Judge | None = None

    def report(self) -> None:
        """At the end of a run: log what the user's function raised, if it did, once."""
        if self.judge is not None:
            self.judge.report()


class Judge:
    """A function of the user's. Where it raises, the reply counts as wrong, and its first
    traceback is kept as text: the exception would keep all that it saw."""

    def __init__(self, name: str, function: Callable[[bytes, bytes], Any]) -> None:
        self.name = name
        self.raised = 0
        self.traceback = ""
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
    """What ``spec`` names: ``echo``, ``any``, or ``module:function``, called with the message and
    the reply, and true where that is right.

    Raises SettingError and HandlerError, which say what would do.
    """
    if spec == "echo":
        return Expectation(None, echo=True)
    if spec == "any":
        return Expectation(_any, any=True)
    if ":" not in spec:
        raise SettingError(f"expect: {spec!r} is neither echo, any nor module:function")
    judge = Judge(spec, _function(spec))
    return Expectation(judge, judge=judge)


def _any(message: bytes, reply: bytes) -> bool:
    return True


def _function(spec: str) -> Callable[[bytes, bytes], Any]:
    found: Callable[[bytes, bytes], Any] = load(spec, "expect function")
    if not callable(found):
        raise HandlerError(f"expect function {spec!r} cannot be called; name a function")
    if inspect.iscoroutinefunction(found) or inspect.iscoroutinefunction(type(found).__call__):
        raise HandlerError(
            f"expect function {spec!r} is async, and nobody awaits it; take a plain one"
        )
    try:
        inspect.signature(found).bind(b"", b"")
    except TypeError:
        raise HandlerError(f"expect function {spec!r} must take (message, reply)") from None
    except ValueError:  # a built-in that does not tell
        pass
    return found
