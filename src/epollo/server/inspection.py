"""What one process that serves says about itself, and does on request: the answers to the questions
of `epollo.control`. An answer is what JSON can say; ``{"error": text}`` if there is none."""

from __future__ import annotations

import heapq
import inspect
import logging
import os
import time
from collections.abc import Callable, Iterable
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from epollo.control.inquirer import Answer, Values
from epollo.engine import EngineConnection, EventLoop
from epollo.engine.connection import Stage
from epollo.engine.survey import causes_of
from epollo.errors import SettingError
from epollo.logs.logger import logger
from epollo.server.closed_connections import is_of
from epollo.settings import LOG_LEVELS
from epollo.suggestions import did_you_mean

if TYPE_CHECKING:
    from epollo.server.application_protocol import ApplicationProtocol

_log = logger("epollo.server")

_Key = Callable[[Any], float]


class Inspection:
    """Answers for the connections of one protocol. In the loop's thread."""

    def __init__(self, protocol: ApplicationProtocol) -> None:
        self._protocol = protocol
        self._loop: EventLoop | None = None
        self._tick_seconds = 0.0
        self._questions: dict[str, Callable[..., Values]] = {
            "figures": self.figures,
            "connections": self._connections,
            "closed": self._closed,
            "close": self._close,
            "log_level": self._log_level,
        }
        self._keys: dict[str, _Key] = {
            "id": attrgetter("id"),
            "seconds": _made_before,
            "idle": attrgetter("idle_ticks"),
            "messages_in": attrgetter("messages_in"),
            "messages_out": attrgetter("messages_out"),
            "bytes_in": attrgetter("bytes_in"),
            "bytes_out": attrgetter("bytes_out"),
            "unsent": attrgetter("unsent"),
            "buffered": attrgetter("buffered"),
            "in_flight": attrgetter("in_flight"),
            "groups": protocol.groups.count_of,
        }

    def begin(self, loop: EventLoop, tick_seconds: float) -> None:
        """``loop`` is about to serve; a tick of it takes ``tick_seconds``."""
        self._loop, self._tick_seconds = loop, tick_seconds

    def end(self) -> None:
        """The loop is closed. `figures`, and ``closed``, are answered still."""
        self._loop = None

    def answer(self, question: str, **arguments: Any) -> Values:
        """``{"error": text}`` to a question that there is not, or whose arguments are wrong."""
        ask = self._questions.get(question)
        if ask is None:
            return {"error": f"no question {question!r}; there are {', '.join(self._questions)}"}
        try:
            inspect.signature(ask).bind(**arguments)
            return ask(**arguments)
        except (SettingError, TypeError) as error:
            return {"error": f"{question}: {error}"}
        except Exception as error:  # the channel to the supervisor must not break
            _log.error("the question %r could not be answered", question, exc_info=error)
            return {"error": f"{question}: {type(error).__name__}: {error}"}

    def figures(self) -> Values:
        """What `Figures.read` tells; also when all connections, and the loop, are closed."""
        return self._protocol.figures.read()

    def _connections(
        self, sort: str = "unsent", limit: int = 100, connection: int | None = None
    ) -> Values:
        """The ``limit`` connections with the largest ``sort``, or only the one with that number.

        ``seconds`` is the age, ``idle`` the seconds since a byte came from the peer. Sorted by
        ``idle``, the choice of them is by ticks of the sweep of deadlines.
        """
        key = self._keys.get(_text("sort", sort))
        if key is None:
            raise SettingError(f"cannot sort by {sort!r}; there are {', '.join(self._keys)}")
        everyone = self._everyone()
        chosen = everyone if connection is None else _of_number(everyone, connection)
        largest = heapq.nlargest(_natural("limit", limit), chosen, key=key)
        shown = [self._describe(each) for each in largest]
        if sort == "idle":
            shown.sort(key=lambda values: -values["idle"])
        return {"total": len(everyone), "connections": shown}

    def _closed(
        self, limit: int = 100, reason: str | None = None, peer: str | None = None
    ) -> Values:
        """The connections that were closed last, the newest first."""
        closed = self._protocol.closed_connections
        found = closed.newest(_natural("limit", limit), reason, peer)
        return {"total": closed.total, "closed": found}

    def _close(
        self, connection: int | None = None, peer: str | None = None, abort: bool = False
    ) -> Values:
        """End the connection of that number, or all of that peer: an address, or only its host."""
        if (connection is None) == (peer is None):
            raise SettingError("give the number of a connection, or a peer")
        if connection is not None:
            found = _of_number(self._everyone(), connection)
        else:
            found = [each for each in self._everyone() if is_of(each.peername, peer or "")]
        for each in found:
            each.abort() if abort else each.close()
        return {"closed": bool(found)} if peer is None else {"closed": len(found)}

    def _log_level(self, level: str | None = None, logger: str | None = None) -> Values:
        """Set the level of the logger ``epollo``, or of another one; and say which it has."""
        name = "epollo" if logger is None else _text("logger", logger)
        if name.partition(".")[0] != "epollo":
            raise SettingError(f"{name!r} is no logger of epollo, such as epollo.server")
        chosen = logging.getLogger(name)
        if level is not None:
            if _text("level", level).lower() not in LOG_LEVELS:
                hint = did_you_mean(level, LOG_LEVELS) or f"there are {', '.join(LOG_LEVELS)}"
                raise SettingError(f"{level!r} is no level; {hint}")
            chosen.setLevel(level.upper())
        return {"level": logging.getLevelName(chosen.getEffectiveLevel()).lower()}

    def _everyone(self) -> list[EngineConnection]:
        return [] if self._loop is None else self._loop.all_connections()

    def _describe(self, connection: EngineConnection) -> dict[str, Any]:
        return {
            "id": connection.id,
            "peer": connection.peername,
            "seconds": round(self._age(connection), 3),
            "idle": round(connection.idle(self._tick_seconds), 3),
            "messages_in": connection.messages_in,
            "messages_out": connection.messages_out,
            "bytes_in": connection.bytes_in,
            "bytes_out": connection.bytes_out,
            "unsent": connection.unsent,
            "buffered": connection.buffered,
            "in_flight": connection.in_flight,
            "state": Stage(connection.stage).name.lower(),
            "paused": causes_of(connection.paused),
            "groups": self._protocol.groups.count_of(connection),
            "tls": connection.tls is not None,
        }

    def _age(self, connection: EngineConnection) -> float:
        return time.monotonic() - connection.since


class OwnInquiry:
    """Asks the one process of a server without workers, which is this one."""

    def __init__(self, inspection: Inspection) -> None:
        self._inspection = inspection

    def ask(
        self,
        question: str,
        done: Callable[[list[Answer]], object],
        *,
        process: int | None = None,
        **arguments: Any,
    ) -> None:
        own = os.getpid()
        if process not in (None, own):
            done([])
            return
        done([Answer(own, None, "serves", self._inspection.answer(question, **arguments))])


def _made_before(connection: EngineConnection) -> int:
    """More for an older one: numbers are given in order."""
    return -connection.id


def _of_number(connections: Iterable[EngineConnection], number: int) -> list[EngineConnection]:
    return [each for each in connections if each.id == number]


def _natural(name: str, value: object) -> int:
    if type(value) is not int or value < 0:
        raise SettingError(f"{name}: {value!r} is not a number from 0 on")
    return value


def _text(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise SettingError(f"{name}: {value!r} is not a text")
    return value
