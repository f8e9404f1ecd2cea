"""The commands of the control socket: a request in, an answer out, both as JSON has them.

A request is an object with ``command`` and the arguments of that. The answer is an object, too;
one with ``error``, a line of text, says that the command was not done. docs/control.md lists both.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import chain
from operator import itemgetter
from typing import Any

from epollo.control.inquirer import Answer, Inquirer, Values
from epollo.control.operations import Done, Operations, Refused
from epollo.reasons import CloseReason
from epollo.suggestions import did_you_mean

SORTS = (
    "unsent",
    "buffered",
    "bytes_in",
    "bytes_out",
    "messages_in",
    "messages_out",
    "seconds",
    "idle",
    "in_flight",
)
"""What a list of connections can be sorted by, the largest first."""
LEVELS = ("debug", "info", "warning", "error", "critical")
MOST_OPEN = 200
"""Open connections in one answer: to describe them holds up the loop that serves them."""
MOST_CLOSED = 1000
"""Closed connections in one answer."""
_USUAL_ROWS = 100
_MOST_QUOTED = 40  # characters
_REASONS = tuple(map(str, CloseReason))

_PARAMETERS: dict[str, dict[str, type]] = {
    "status": {},
    "workers": {},
    "figures": {},
    "connections": {"sort": str, "limit": int, "worker": int, "connection": str},
    "closed": {"reason": str, "peer": str, "limit": int},
    "close": {"connection": str, "peer": str, "abort": bool},
    "drain": {"worker": int},
    "stop": {},
    "reload": {},
    "add": {},
    "remove": {},
    "log_level": {"level": str, "logger": str},
}


class Commands:
    """Does what requests say."""

    def __init__(self, inquirer: Inquirer, operations: Operations) -> None:
        self._inquirer = inquirer
        self._operations = operations

    def run(self, line: bytes, done: Done) -> None:
        """Do what the request in ``line`` says; ``done`` is called once with the answer, now or
        later."""
        try:
            command, arguments = _parsed(line)
            do: Callable[..., object] = getattr(self, f"_{command}")
            do(done, **arguments)
        except Refused as refused:
            done({"error": str(refused)})

    # ---- Questions

    def _status(self, done: Done) -> None:
        def tell(answers: list[Answer]) -> None:
            stages = [each.stage for each in self._operations.processes()]
            done(
                {
                    "version": vars(sys.modules["epollo"])["__version__"],
                    **self._operations.overview(),
                    "serving": stages.count("serves"),
                    "draining": stages.count("drains"),
                    "booting": stages.count("boots"),
                    "totals": self._operations.totals(answers),
                    "unanswered": self._unanswered(answers),
                }
            )

        self._inquirer.ask("figures", tell)

    def _workers(self, done: Done, with_totals: bool = False) -> None:
        def tell(answers: list[Answer]) -> None:
            figures = {answer.process: values for answer, values in _said(answers)}
            rows = [
                {
                    "worker": _number(each.slot),
                    "pid": each.process,
                    "stage": each.stage,
                    "age": round(each.age, 3),
                    "figures": figures.get(each.process),
                }
                for each in self._operations.processes()
            ]
            rows.sort(key=lambda row: (row["worker"] or 0, row["age"]))
            totals = {"totals": self._operations.totals(answers)} if with_totals else {}
            done({"workers": rows, **totals, "unanswered": self._unanswered(answers)})

        self._inquirer.ask("figures", tell)

    def _figures(self, done: Done) -> None:
        """The figures of each process, their totals, and the overview, in one answer."""

        def tell(known: Values) -> None:
            done({**self._operations.overview(), **known})

        self._workers(tell, with_totals=True)

    def _connections(
        self,
        done: Done,
        sort: str = "unsent",
        limit: int = _USUAL_ROWS,
        worker: int | None = None,
        connection: str | None = None,
    ) -> None:
        if sort not in SORTS:
            raise Refused(f"no sort {_quoted(sort)}: {_meant(sort, SORTS)}")
        rows = _checked_limit(limit, MOST_OPEN)
        processes = None if worker is None else self._in_slot(worker)
        arguments: dict[str, Any] = {"sort": sort, "limit": rows}
        if connection is not None:
            process, arguments["connection"] = self._located(connection)
            processes = [process]

        def tell(answers: list[Answer]) -> None:
            merged = _merged(answers, "connections", self._unanswered(answers))
            merged["connections"].sort(key=itemgetter(sort), reverse=True)
            del merged["connections"][rows:]
            if connection is not None and not merged["connections"] and not merged["unanswered"]:
                merged = {"error": _no_connection(connection)}
            done(merged)

        self._ask_each(processes, "connections", tell, arguments)

    def _closed(
        self,
        done: Done,
        reason: str | None = None,
        peer: str | None = None,
        limit: int = _USUAL_ROWS,
    ) -> None:
        rows = _checked_limit(limit, MOST_CLOSED)
        if reason is not None and reason not in _REASONS:
            raise Refused(f"no reason {_quoted(reason)}: {_meant(reason, _REASONS)}")

        def tell(answers: list[Answer]) -> None:
            merged = _merged(answers, "closed", self._unanswered(answers))
            merged["closed"].sort(key=itemgetter("at"), reverse=True)
            del merged["closed"][rows:]
            done(merged)

        self._inquirer.ask("closed", tell, reason=reason, peer=peer, limit=rows)

    # ---- Steering

    def _close(
        self,
        done: Done,
        connection: str | None = None,
        peer: str | None = None,
        abort: bool = False,
    ) -> None:
        if (connection is None) == (peer is None):
            raise Refused("close: name one connection, as PROCESS:NUMBER, or one peer")

        def tell(answers: list[Answer]) -> None:
            error = next((v["error"] for _, v in _said(answers) if "error" in v), None)
            silent = self._unanswered(answers)
            count = sum(int(values.get("closed", 0)) for _, values in _said(answers))
            if error is None and not count and not silent:
                error = f"no connection of {peer}" if peer else _no_connection(str(connection))
            if not count and silent:
                error = f"process {silent[0]['pid']} does not answer"
            done({"error": error} if error else {"closed": count, "unanswered": silent})

        if connection is not None:
            process, number = self._located(connection)
            self._ask_each([process], "close", tell, {"connection": number, "abort": abort})
        else:
            self._ask_each(None, "close", tell, {"peer": peer, "abort": abort})

    def _drain(self, done: Done, worker: int | None = None) -> None:
        if worker is None:
            raise Refused("drain: name a worker, or use stop for all")
        self._operations.drain(worker - 1, done)

    def _stop(self, done: Done) -> None:
        done(self._operations.stop())

    def _reload(self, done: Done) -> None:
        self._operations.reload(done)

    def _add(self, done: Done) -> None:
        done(self._operations.scale(1))

    def _remove(self, done: Done) -> None:
        done(self._operations.scale(-1))

    def _log_level(self, done: Done, level: str | None = None, logger: str = "epollo") -> None:
        if level is not None and level.lower() not in LEVELS:
            raise Refused(f"no level {_quoted(level)}: {_meant(level, LEVELS)}")

        def tell(answers: list[Answer]) -> None:
            error = next((values["error"] for _, values in _said(answers) if "error" in values), "")
            if error:
                done({"error": error})
                return
            rows = [
                {"worker": _number(answer.slot), "pid": answer.process, "level": values["level"]}
                for answer, values in _said(answers)
            ]
            # Only now, since the workers check the name; those that are forked later have it, too.
            supervisor = self._operations.log_level(level, logger)
            if supervisor:
                rows.insert(0, {"worker": None, **supervisor})
            done({"logger": logger, "levels": rows, "unanswered": self._unanswered(answers)})

        self._inquirer.ask("log_level", tell, level=level, logger=logger)

    # ---- Which processes to ask

    def _unanswered(self, answers: Iterable[Answer]) -> list[dict[str, int | None]]:
        """Those that have not answered, and have not ended meanwhile."""
        there = {each.process for each in self._operations.processes()}
        return [
            {"worker": _number(answer.slot), "pid": answer.process}
            for answer in answers
            if answer.values is None and answer.process in there
        ]

    def _in_slot(self, worker: int) -> list[int]:
        """The processes of the worker with this number, counted from 1."""
        states = self._operations.processes()
        found = [each.process for each in states if each.slot == worker - 1]
        if not found:
            numbers = sorted({each.slot + 1 for each in states if each.slot is not None})
            there = f"there are {', '.join(map(str, numbers))}" if numbers else "there are none"
            raise Refused(f"no worker {worker}: {there}")
        return found

    def _located(self, connection: str) -> tuple[int, int]:
        """The process and the number of a connection that is written PROCESS:NUMBER; of the one
        process, NUMBER is enough."""
        process, colon, number = connection.rpartition(":")
        states = self._operations.processes()
        if not colon and len(states) == 1:
            process = str(states[0].process)
        if not _is_number(process) or not _is_number(number):
            raise Refused(
                f"{_quoted(connection)} is no connection: write PROCESS:NUMBER, as in the lists"
            )
        if int(process) not in {each.process for each in states}:
            raise Refused(_no_connection(connection))
        return int(process), int(number)

    def _ask_each(
        self,
        processes: Sequence[int] | None,
        question: str,
        done: Callable[[list[Answer]], object],
        arguments: Mapping[str, Any],
    ) -> None:
        """Ask these processes, or all with None."""
        if processes is None:
            self._inquirer.ask(question, done, **arguments)
            return
        answers: list[Answer] = []
        waiting = set(processes)

        def collect(process: int, one: list[Answer]) -> None:
            answers.extend(one)
            waiting.discard(process)
            if not waiting:
                done(answers)

        for process in processes:
            self._inquirer.ask(question, partial(collect, process), process=process, **arguments)


def _parsed(line: bytes) -> tuple[str, dict[str, Any]]:
    """The command and its arguments. Raises Refused."""
    try:
        request = json.loads(line)
    except (ValueError, RecursionError):
        raise Refused("not an object in JSON") from None
    if not isinstance(request, dict) or not isinstance(request.get("command"), str):
        raise Refused('not an object with "command"')
    command = request.pop("command")
    parameters = _PARAMETERS.get(command)
    if parameters is None:
        raise Refused(f"no command {_quoted(command)}: {_meant(command, _PARAMETERS)}")
    arguments = {name: value for name, value in request.items() if value is not None}
    for name, value in arguments.items():
        wanted = parameters.get(name)
        if wanted is None:
            there = f"there are {', '.join(parameters)}" if parameters else "there are none"
            raise Refused(f"{command}: no argument {_quoted(name)}: {there}")
        if type(value) is not wanted:
            raise Refused(f"{command}: {name} is not of the type {wanted.__name__}")
    return command, arguments


def _meant(typed: str, known: Iterable[str]) -> str:
    return did_you_mean(typed, known) or f"there are {', '.join(known)}"


def _quoted(text: str) -> str:
    """The beginning of what a client has sent, for an error."""
    return repr(text[:_MOST_QUOTED])


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 19


def _no_connection(connection: str) -> str:
    return f"no connection {connection}: it is closed, or never was"


def _checked_limit(limit: int, most: int) -> int:
    if not 1 <= limit <= most:
        raise Refused(f"limit: {limit} is not from 1 to {most}")
    return limit


def _number(slot: int | None) -> int | None:
    """The number of a worker for people, as in its process's name."""
    return None if slot is None else slot + 1


def _said(answers: Iterable[Answer]) -> Iterable[tuple[Answer, Values]]:
    return ((answer, answer.values) for answer in answers if answer.values is not None)


def _merged(
    answers: Sequence[Answer], rows: str, unanswered: list[dict[str, int | None]]
) -> dict[str, Any]:
    """The lists of all answers in one."""
    error = next((values["error"] for _, values in _said(answers) if "error" in values), None)
    if error is not None:
        return {"error": error, rows: [], "unanswered": []}
    return {
        "total": sum(values["total"] for _, values in _said(answers)),
        rows: list(chain.from_iterable(values[rows] for _, values in _said(answers))),
        "unanswered": unanswered,
    }
