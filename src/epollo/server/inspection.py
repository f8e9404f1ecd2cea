"""What one process that serves says about itself, and does on request: the answers to the questions
of `epollo.control`. An answer is what JSON can say; ``{"error": text}`` if there is none."""

from __future__ import annotations

import heapq
import inspect
import logging
import os
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from itertools import islice
from operator import attrgetter
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from epollo.control.inquirer import Answer, Values, named, with_rows
from epollo.control.steps import StepQueue
from epollo.engine import EngineConnection, EventLoop
from epollo.engine.base_loop import connection_of
from epollo.engine.connection import Stage
from epollo.engine.survey import causes_of
from epollo.errors import SettingError
from epollo.logs.logger import logger
from epollo.server.closed_connections import is_of
from epollo.server.figures import LOOKED_AT
from epollo.settings import LOG_LEVELS
from epollo.suggestions import did_you_mean

if TYPE_CHECKING:
    from epollo.server.application_protocol import ApplicationProtocol

_log = logger("epollo.server")

ROWS = 4
"""Rows of a list that are described in one piece: some ten microseconds."""

Pieces: TypeAlias = Generator[list[Values], None, Values]
"""Some rows of an answer at a time, and at last the answer without them. Each piece is a
step of `epollo.control.steps`."""

_Key = Callable[[Any], float]
_T = TypeVar("_T")


class Inspection:
    """Answers for the connections of one protocol. In the loop's thread."""

    def __init__(self, protocol: ApplicationProtocol) -> None:
        self._protocol = protocol
        self._loop: EventLoop | None = None
        self._tick_seconds = 0.0
        self._steps: StepQueue | None = None
        self._questions: dict[str, Callable[..., Values | Pieces]] = {
            "figures": self._figures,
            "connections": self._connections,
            "closed": self._closed,
            "close": self._close,
            "log_level": self._log_level,
        }
        self._signatures = {name: inspect.signature(ask) for name, ask in self._questions.items()}
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
        self._steps = StepQueue(loop)

    def end(self) -> None:
        """The loop is closed. The questions under way are answered now: no connection is left, but
        what was counted is. So are later ones."""
        steps, self._steps, self._loop = self._steps, None, None
        if steps is not None:
            steps.finish()

    def answer(self, question: str, **arguments: Any) -> Values:
        """``{"error": text}`` to a question that there is not, or whose arguments are wrong."""
        pieces = self._answered(question, arguments)
        rows: list[Values] = []
        while True:
            try:
                rows += next(pieces)
            except StopIteration as end:
                return with_rows(end.value, question, rows)

    def tell(
        self,
        question: str,
        piece: Callable[[list[Values]], object],
        done: Callable[[Values], object],
        **arguments: Any,
    ) -> None:
        """As `answer`, but in steps of `epollo.control.steps`: ``piece`` is called with the rows of
        each, and ``done`` with the answer without rows."""

        def told() -> Iterator[None]:
            pieces = self._answered(question, arguments)
            while True:
                try:
                    rows = next(pieces)
                except StopIteration as end:
                    values: Values = end.value
                    break
                piece(rows)
                yield
            yield
            done(values)

        if self._steps is None:
            deque(told(), maxlen=0)  # all at once
        else:
            self._steps.add(told())

    def _answered(self, question: str, arguments: Mapping[str, Any]) -> Pieces:
        ask = self._questions.get(question)
        if ask is None:
            return {"error": f"no question {question!r}; there are {', '.join(self._questions)}"}
        try:
            self._signatures[question].bind(**arguments)
            found = ask(**arguments)
            return (yield from found) if isinstance(found, Generator) else found
        except (SettingError, TypeError) as error:
            return {"error": f"{question}: {error}"}
        except Exception as error:  # the channel to the supervisor must not break
            _log.error("the question %r could not be answered", question, exc_info=error)
            return {"error": f"{question}: {type(error).__name__}: {error}"}

    def figures(self) -> Values:
        """What `Figures.read` tells; also when all connections, and the loop, are closed."""
        return self._protocol.figures.read()

    def _figures(self) -> Pieces:
        """The same, in pieces."""
        pieces = self._protocol.figures.in_pieces()
        while True:
            try:
                next(pieces)
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]
            yield []

    def _connections(
        self, sort: str = "unsent", limit: int = 100, connection: int | None = None
    ) -> Pieces:
        """The ``limit`` connections with the largest ``sort``, or only the one with that number.

        ``seconds`` is the age, ``idle`` the seconds since a byte came from the peer. Sorted by
        ``idle``, the choice of them is by ticks of the sweep of deadlines. Rows of one tick are in
        any order.
        """
        key = self._keys.get(_text("sort", sort))
        if key is None:
            raise SettingError(f"cannot sort by {sort!r}; there are {', '.join(self._keys)}")
        most = _natural("limit", limit)
        total = 0
        largest: list[tuple[float, int, EngineConnection]] = []  # a heap
        for some in self._everyone():
            chosen = some if connection is None else _of_number(some, connection)
            for number, each in enumerate(chosen, total):
                entry = (key(each), -number, each)
                if len(largest) < most:
                    heapq.heappush(largest, entry)
                else:
                    heapq.heappushpop(largest, entry)
            total += len(some)
            yield []
        largest.sort(reverse=True)
        for found in batched(largest, ROWS):
            yield [self._describe(each) for _, _, each in found if not each.closed]
        return {"total": total, "connections": []}

    def _closed(
        self, limit: int = 100, reason: str | None = None, peer: str | None = None
    ) -> Pieces:
        """The connections that were closed last, the newest first."""
        closed = self._protocol.closed_connections
        total, left = closed.total, _natural("limit", limit)
        for some in batched(closed.newest(), LOOKED_AT):
            found = [each for each in some if closed.is_wanted(each, reason, peer)][:left]
            left -= len(found)
            for few in batched(found, ROWS):
                yield [closed.described(each) for each in few]
            yield []
            if not left:
                break
        return {"total": total, "closed": []}

    def _close(
        self, connection: int | None = None, peer: str | None = None, abort: bool = False
    ) -> Pieces:
        """End the connection of that number, or all of that peer: an address, or only its host."""
        if (connection is None) == (peer is None):
            raise SettingError("give the number of a connection, or a peer")
        count = 0
        for some in self._everyone():
            if connection is not None:
                found = _of_number(some, connection)
            else:
                found = [each for each in some if is_of(each.peername, peer or "")]
            for few in batched(found, ROWS):
                for each in few:
                    each.abort() if abort else each.close()
                count += len(few)
                yield []
            yield []
        return {"closed": bool(count)} if peer is None else {"closed": count}

    def _log_level(self, level: str | None = None, logger: str | None = None) -> Values:
        """Set the level of the logger ``epollo``, or of another one; and say which it has."""
        name = "epollo" if logger is None else _text("logger", logger)
        there = ("root", "epollo", *logging.root.manager.loggerDict)
        if name not in there and not name.startswith("epollo."):
            hint = did_you_mean(name, there) or "name one of epollo or of the application, or root"
            raise SettingError(f"no logger {name!r}; {hint}")
        chosen = logging.getLogger("" if name == "root" else name)
        if level is not None:
            if _text("level", level).lower() not in LOG_LEVELS:
                hint = did_you_mean(level, LOG_LEVELS) or f"there are {', '.join(LOG_LEVELS)}"
                raise SettingError(f"{level!r} is no level; {hint}")
            chosen.setLevel(level.upper())
        return {"level": logging.getLevelName(chosen.getEffectiveLevel()).lower()}

    def _everyone(self) -> Iterator[list[EngineConnection]]:
        """All connections of this moment, `LOOKED_AT` at a time."""
        sources = [] if self._loop is None else self._loop.sources()
        for some in batched(sources, LOOKED_AT):
            yield [each for each in map(connection_of, some) if each is not None]

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

    def __init__(self, inspection: Inspection, is_stopping: Callable[[], bool]) -> None:
        self._inspection = inspection
        self._is_stopping = is_stopping

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
        rows: list[Values] = []

        def tell_rows(some: list[Values]) -> None:
            rows.extend(named(each, own, None) for each in some)

        def tell(values: Values) -> None:
            stage = "drains" if self._is_stopping() else "serves"
            done([Answer(own, None, stage, with_rows(values, question, rows))])

        self._inspection.tell(question, tell_rows, tell, **arguments)


def _made_before(connection: EngineConnection) -> int:
    """More for an older one: numbers are given in order."""
    return -connection.id


def batched(items: Iterable[_T], size: int) -> Iterator[list[_T]]:
    """Lists of ``size`` of them; the last may be shorter."""
    left = iter(items)
    while some := list(islice(left, size)):
        yield some


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
