"""Every sequence of events on a connection, up to a length, and random walks: what `model.py`
promises comes of them, on both engines alike.

    python -m fuzz.sequences                             # up to three events; make sequences: four
    python -m fuzz.sequences --walks 1000 --seed 1       # of thirty events each
    python -m fuzz.sequences --play 'frame+ stop' --over tls-unix      # what a failure is told with
"""

from __future__ import annotations

import argparse
import faulthandler
import multiprocessing
import os
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import ExitStack
from dataclasses import dataclass, field
from random import Random

from epollo.engine import CloseReason, available
from fuzz.difference import Difference, short
from fuzz.events import (
    ALL,
    USUAL,
    Event,
    Setting,
    Step,
    Steps,
    a_walk,
    ended,
    framing_of,
    parse_setting,
    parse_steps,
    sequences,
    show,
)
from fuzz.model import Bug, Expected, expect
from fuzz.player import END, Player, Record, reply_to

EVERYDAY = (Setting(tcp=True), Setting(tls=True))
AT_LENGTH = (*EVERYDAY, Setting(), Setting(tls=True, tcp=True))
WALKS_OF_A_BATCH = 100
MOST_FAILURES = 10

_RAISED = "handler %s raised, closed %s: ZeroDivisionError('as it was told to')"
_RAISED_LATE = "handler raised after "
_LINGER_TIMER_RAISES = (  # that of a connection of up to two seconds before, on the same loop
    "a callback of the loop raised: ValueError('file descriptor cannot be a negative integer (-1)')"
)


def violations(setting: Setting, expected: Expected, record: Record) -> Iterator[str]:
    """Which promises are not kept."""
    *begin, reason = record.events or [""]
    if begin != ["connected"] or reason not in expected.reasons:
        allowed = " or ".join(sorted(expected.reasons))
        yield f"promise 4: it was told of {record.events}, not of connected and {allowed}"
    certain = len(expected.messages)
    further = record.messages[certain:]
    if record.messages[:certain] != expected.messages:
        yield f"promise 1: delivered {short(record.messages)}, not {short(expected.messages)}"
    elif further != expected.maybe[: len(further)]:
        yield f"promise 1: delivered {short(further)}, not a beginning of {short(expected.maybe)}"
    too_late = [reply_to(message) for message in expected.not_answered]
    said = [each for each in record.said if each not in too_late]
    due = b"".join(map(framing_of(setting).encode, said))
    if not due.startswith(record.received):
        yield f"promise 1: the peer got {short(record.received)}, which does not begin {short(due)}"
    elif expected.complete and len(record.received) < len(due):
        yield f"promise 6: the peer got only {len(record.received)} bytes of {short(due)}"
    if refused := [each for each in record.refused if each not in expected.not_answered]:
        yield f"promise 6: the replies to {short(refused)} were refused"
    if expected.clean and record.farewell != END:
        yield f"promise 6: the peer got no end of the stream, but {record.farewell or 'nothing'!r}"
    if record.ended_after != expected.ends_after:
        yield (
            f"promise 6: the stream ended for the peer after step {record.ended_after},"
            f" not {expected.ends_after}"
        )
    yield from _unexpected_lines(expected, record)


def _unexpected_lines(expected: Expected, record: Record) -> Iterator[str]:
    if record.other:
        yield f"promise 3: {record.other}"
    if record.restless and not expected.spins:
        yield "promise 5: the loop turns though there is nothing left to do"
    handler_error = CloseReason.HANDLER_ERROR in record.events
    due = [_RAISED] if handler_error else []
    late = expected.raises and not handler_error  # its peer did wrong before, and that counts
    lines = [line for line in record.logged if not (late and line.startswith(_RAISED_LATE))]
    if lines != due:
        yield f"promise 3: logged {lines}, not {due}"


def differences(setting: Setting, expected: Expected, one: Record, two: Record) -> Iterator[str]:
    """In what the engines differ. How much the program can send is for an engine to choose. Over
    TCP, and behind a reset, so is what the model leaves open."""
    names = ["events", "messages", "error", "logged", "ended_after"]
    open_ = len(expected.reasons) > 1 or bool(expected.maybe)
    if open_ and (setting.tcp or CloseReason.RESET in expected.reasons):
        names = ["ended_after"]
    if expected.clean:
        names.append("farewell")
    for name in names:
        if getattr(one, name) != getattr(two, name):
            yield (
                f"promise 8: the engines differ in {name}:"
                f" {short(getattr(one, name))} and {short(getattr(two, name))}"
            )


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
        self._players.clear()
        self._stack.close()

    def check(self, steps: Steps, bugs: Sequence[Bug] = tuple(Bug)) -> str:
        """How the connection ended. Raises Difference; not for one of ``bugs``."""
        whole = ended(steps)
        known = expect(self._setting, whole, bugs)
        records = {name: self._play(name, whole, known.ends_after) for name in self._engines}
        if Bug.LINGER_TIMER_RAISES in bugs and self._setting.tcp:
            for record in records.values():
                record.logged = [line for line in record.logged if line != _LINGER_TIMER_RAISES]
        wrong = self._wrong(expect(self._setting, whole), records)
        if wrong and not self._wrong(known, records):
            wrong = []
        if wrong:
            raise Difference("\n".join([*self._told(whole), *wrong]))
        return next(iter(records.values())).events[-1]

    def _play(self, engine: str, steps: Steps, ends_after: int | None) -> Record:
        if engine not in self._players:
            self._players[engine] = self._stack.enter_context(Player(engine, self._setting))
        try:
            return self._players[engine].play(steps, ends_after)
        except Exception as error:
            self.__exit__()  # whatever became of the loops
            notes = getattr(error, "__notes__", [])
            told = [*self._told(steps), f"  {engine}: promise 3: {error!r}", *notes]
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


@dataclass
class Found:
    """What came of a batch: how the connections ended, and the failures, each with its replay."""

    ends: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def add(self, other: Found) -> None:
        self.ends += other.ends
        self.wrong += other.wrong


@dataclass(frozen=True)
class Batch:
    """Every sequence that begins with one event."""

    setting: Setting
    first: Event
    length: int = 3
    events: tuple[Event, ...] = USUAL
    settle: bool = True

    def run(self, most: int = MOST_FAILURES) -> Found:
        """Play them, until ``most`` have failed."""
        found = Found()
        with Checker(self.setting) as checker:
            for steps in sequences(self.length, self.first, self.events, self.settle):
                if self.setting.allows(steps):
                    replay = f"--play '{show(steps)}' --over {self.setting}"
                    _check(checker, steps, replay, found)
                if len(found.wrong) >= most:
                    break
        return found


@dataclass(frozen=True)
class Walks:
    """Random ones, by seed."""

    seeds: range

    def run(self, most: int = MOST_FAILURES) -> Found:
        found = Found()
        for seed in self.seeds:
            setting, steps = a_walk(Random(seed))
            with Checker(setting) as checker:
                _check(checker, steps, f"--walks 1 --seed {seed}", found)
            if len(found.wrong) >= most:
                break
        return found


def _check(checker: Checker, steps: Steps, replay: str, found: Found) -> None:
    try:
        found.ends[checker.check(steps)] += 1
    except Difference as error:
        found.wrong.append(f"{error}\n  replay: python -m fuzz.sequences {replay}")


def batches(
    settings: Iterable[Setting], length: int, events: tuple[Event, ...], hurried: bool
) -> list[Batch]:
    """Every sequence over each of the settings; with ``hurried``, also with no turns between the
    events."""
    return [
        Batch(setting, first, length, events, settle)
        for setting in settings
        for settle in ((True, False) if hurried else (True,))
        for first in events
        if setting.allows((Step(first),))
    ]


def walks(seeds: range) -> list[Walks]:
    """Those of ``seeds``, in batches."""
    step = WALKS_OF_A_BATCH
    return [Walks(seeds[start : start + step]) for start in range(0, len(seeds), step)]


def parser() -> argparse.ArgumentParser:
    """The command line's."""
    options = argparse.ArgumentParser(
        prog="python -m fuzz.sequences",
        description="Every sequence of events on a connection, and random walks: what is promised"
        " must come of them, on both engines alike.",
    )
    add = options.add_argument
    add("--length", type=int, default=3, help="most events of a sequence (3); 0: no sequences")
    add("--all", action="store_true", help="also what a handler does with its connection")
    add("--hurried", action="store_true", help="also with no turn of the loop between the events")
    over = "plain-unix, plain-tcp, tls-unix or tls-tcp; may be repeated (all)"
    add("--over", type=_setting, action="append", help=over)
    add("--walks", type=int, default=0, help="how many walks of thirty events")
    add("--seed", type=int, default=0, help="of the first walk; the next has the next")
    add("--play", type=_steps, help="one sequence, such as 'frame pause+ half-close'")
    add("--no-bugs", action="store_true", help="with --play: do not accept what is known as a bug")
    cores = len(os.sched_getaffinity(0))
    add("--jobs", type=int, default=cores, help=f"processes ({cores})")
    return options


def _setting(text: str) -> Setting:
    try:
        return parse_setting(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _steps(text: str) -> Steps:
    try:
        return parse_steps(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _run(work: Batch | Walks) -> Found:
    return work.run()


def side_by_side(work: Sequence[Batch | Walks], jobs: int) -> Iterator[Found]:
    """What comes of each, as it comes, from so many processes."""
    if jobs <= 1 or len(work) == 1:
        yield from map(_run, work)
        return
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=spawn, initializer=faulthandler.enable) as processes:
        for future in as_completed([processes.submit(_run, each) for each in work]):
            yield future.result()


def play(steps: Steps, settings: Iterable[Setting], bugs: Sequence[Bug]) -> Iterator[Found]:
    """One sequence over each of the settings that allow it."""
    for setting in settings:
        if setting.allows(steps):
            found = Found()
            with Checker(setting) as checker:
                try:
                    found.ends[checker.check(steps, bugs)] += 1
                except Difference as error:
                    found.wrong.append(str(error))
            yield found


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    options = parser().parse_args(arguments)
    settings = options.over or AT_LENGTH
    start = time.monotonic()
    if options.play is not None:
        results = play(options.play, settings, () if options.no_bugs else tuple(Bug))
    else:
        events = ALL if options.all else USUAL
        work: list[Batch | Walks] = []
        if options.length:
            work += batches(settings, options.length, events, options.hurried)
        work += walks(range(options.seed, options.seed + options.walks))
        results = side_by_side(work, options.jobs)
    found = Found()
    for each in results:
        for text in each.wrong:
            print(text, file=sys.stderr, flush=True)
        found.add(each)
    count = found.ends.total() + len(found.wrong)
    for reason, number in sorted(found.ends.items()):
        print(f"  {reason:16} {number:9,}")
    engines = " and ".join(sorted(available()))
    seconds = time.monotonic() - start
    print(
        f"{count:,} sequences on {engines} in {seconds:,.0f} s, {len(found.wrong)} not as promised"
    )
    return 1 if found.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
