"""A sequence on all engines, held against what is promised. What is not kept is told by its name:

messages      no message is lost, duplicated, reordered or cut, in either direction
disconnected  comes exactly once per connected, with a reason that the sequence allows
replies       the peer gets the replies to all it sent, then the end of the stream
others        whatever becomes of a connection, the loop serves the others
rest          a loop with nothing left to do waits
engines       all engines do the same
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack

from epollo.engine import CloseReason, available
from fuzz.difference import Difference, short
from fuzz.events import Setting, Steps, ended, framing_of, show
from fuzz.model import Expected, expect
from fuzz.player import END, Player, Record, reply_to

_RAISED = "handler %s raised, closed %s: ZeroDivisionError('as it was told to')"
_RAISED_TOO_LATE = "handler raised after "  # the end of its peer, or its own close


class Checker:
    """Plays sequences of one setting on all engines, and finds what is not as promised."""

    def __init__(self, setting: Setting, engines: Sequence[str] = ()) -> None:
        self._setting = setting
        self._engines = engines or sorted(available())
        self._stack = ExitStack()
        self._players: dict[str, Player] = {}

    def __enter__(self) -> Checker:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def check(self, steps: Steps) -> str:
        """How the connection ended. Raises Difference if it is not as promised."""
        whole = ended(steps)
        expected = expect(self._setting, whole)
        records = {name: self._play(name, whole, expected.ends_after) for name in self._engines}
        if wrong := self._wrong(expected, records):
            if any(record.other for record in records.values()):
                self._close()
            raise Difference("\n".join([*self._told(whole), *wrong]))
        return next(iter(records.values())).events[-1]

    def _close(self) -> None:
        self._players.clear()
        self._stack.close()

    def _play(self, engine: str, steps: Steps, ends_after: int | None) -> Record:
        if engine not in self._players:
            self._players[engine] = self._stack.enter_context(Player(engine, self._setting))
        try:
            return self._players[engine].play(steps, ends_after)
        except Exception as error:
            self._close()
            notes = getattr(error, "__notes__", [])
            told = [*self._told(steps), f"  {engine}: others: {error!r}", *notes]
            raise Difference("\n".join(told)) from error

    def _wrong(self, expected: Expected, records: dict[str, Record]) -> list[str]:
        wrong = [
            f"  {engine}: {text}"
            for engine, record in records.items()
            for text in violations(self._setting, expected, record)
        ]
        if not wrong and len(records) == 2:
            one, two = records.values()
            wrong = [f"  {text}" for text in differences(self._setting, expected, one, two)]
        return wrong

    def _told(self, steps: Steps) -> list[str]:
        return [f"not as promised, over {self._setting}:", f"  steps: {show(steps)}"]


def violations(setting: Setting, expected: Expected, record: Record) -> Iterator[str]:
    """What one engine has not kept."""
    yield from _of_events(expected, record)
    yield from _of_messages(expected, record)
    yield from _of_bytes(setting, expected, record)
    yield from _of_the_loop(expected, record)


def _of_events(expected: Expected, record: Record) -> Iterator[str]:
    *begin, reason = record.events or [""]
    if begin != ["connected"] or reason not in expected.reasons:
        allowed = " or ".join(sorted(expected.reasons))
        yield f"disconnected: it was told of {record.events}, not of connected and {allowed}"


def _of_messages(expected: Expected, record: Record) -> Iterator[str]:
    certain = len(expected.messages)
    further = record.messages[certain:]
    if record.messages[:certain] != expected.messages:
        yield f"messages: delivered {short(record.messages)}, not {short(expected.messages)}"
    elif further != expected.maybe[: len(further)]:
        yield f"messages: delivered {short(further)}, not a beginning of {short(expected.maybe)}"
    for number, count in expected.progress.items():
        if (delivered := record.progress.get(number)) != count:
            yield f"messages: {delivered} were delivered after step {number}, not {count}"
            break


def _of_bytes(setting: Setting, expected: Expected, record: Record) -> Iterator[str]:
    too_late = [reply_to(message) for message in expected.not_answered]
    said = [each for each in record.said if each not in too_late]
    due = b"".join(map(framing_of(setting).encode, said))
    if not due.startswith(record.received):
        yield f"messages: the peer got {short(record.received)}, no beginning of {short(due)}"
    elif expected.complete and len(record.received) < len(due):
        yield f"replies: the peer got only {len(record.received)} bytes of {short(due)}"
    if refused := [each for each in record.refused if each not in expected.not_answered]:
        yield f"replies: those to {short(refused)} were refused"
    if expected.clean and record.farewell != END:
        yield f"replies: the peer got no end of the stream, but {record.farewell or 'nothing'!r}"
    if record.ended_after != expected.ends_after:
        when = f"after step {record.ended_after}, not {expected.ends_after}"
        yield f"replies: the stream ended for the peer {when}"


def _of_the_loop(expected: Expected, record: Record) -> Iterator[str]:
    if record.other:
        yield f"others: {record.other}"
    if record.restless:
        yield "rest: the loop turns though there is nothing left to do"
    due = [_RAISED] if CloseReason.HANDLER_ERROR in record.events else []
    lines = record.logged
    if expected.raises:
        lines = [line for line in lines if not line.startswith(_RAISED_TOO_LATE)]
    if lines != due:
        yield f"others: logged {lines}, not {due}"


def differences(setting: Setting, expected: Expected, one: Record, two: Record) -> Iterator[str]:
    """In what two engines differ that both keep their promises. How much the program can send
    before the kernel takes no more is for an engine to choose. What the specification leaves open
    need not be the same over TCP, nor behind a reset; on a socket pair it is."""
    names = ["ended_after"]
    left_open = len(expected.reasons) > 1 or expected.maybe
    if not left_open or not (setting.tcp or CloseReason.RESET in expected.reasons):
        names += ["events", "messages", "error", "logged"]
    if expected.clean:
        names += ["farewell"]
    for name in names:
        ours, theirs = getattr(one, name), getattr(two, name)
        if ours != theirs:
            yield f"engines: they differ in {name}: {short(ours)} and {short(theirs)}"
