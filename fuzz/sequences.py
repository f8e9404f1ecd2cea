"""Every sequence of events on a connection, up to a length, and random walks: what `model.py`
promises comes of them, on all engines alike.

    python -m fuzz.sequences                             # up to three events; make sequences: four
    python -m fuzz.sequences --walks 1000 --seed 1       # of thirty events each
    python -m fuzz.sequences --play 'frame+ stop' --over tls-unix    # what a failure is told with
"""

from __future__ import annotations

import argparse
import faulthandler
import multiprocessing
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from random import Random
from typing import TypeAlias, TypeVar

from epollo.engine import available
from fuzz.checker import Checker
from fuzz.difference import Difference
from fuzz.events import (
    ALL,
    FURTHER,
    USUAL,
    Event,
    Setting,
    Step,
    Steps,
    a_walk,
    parse_setting,
    parse_steps,
    sequences,
    show,
)

OVER_ALL = tuple(Setting(tls=tls, tcp=tcp) for tls in (False, True) for tcp in (False, True))
WALKS_OF_A_BATCH = 100
MOST_FAILURES = 10
PROGRESS_SECONDS = 10.0


@dataclass
class Found:
    """What came of a batch: how the connections ended, and the failures, each with its replay."""

    ends: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    @property
    def count(self) -> int:
        return self.ends.total() + len(self.wrong)

    def add(self, other: Found) -> None:
        self.ends += other.ends
        self.wrong += other.wrong

    def check(self, checker: Checker, steps: Steps, replay: str) -> None:
        try:
            self.ends[checker.check(steps)] += 1
        except Difference as error:
            self.wrong.append(f"{error}\n  replay: python -m fuzz.sequences {replay}")


@dataclass(frozen=True)
class Batch:
    """Every sequence that begins with one event."""

    setting: Setting
    first: Event
    length: int = 3
    events: tuple[Event, ...] = USUAL
    settle: bool = True
    having: tuple[Event, ...] = ()  # only those with one of these; all if there are none

    def run(self, most: int = MOST_FAILURES) -> Found:
        """Play them, until ``most`` have failed."""
        found = Found()
        with Checker(self.setting) as checker:
            for steps in self.steps():
                found.check(checker, steps, f"--play '{show(steps)}' --over {self.setting}")
                if len(found.wrong) >= most:
                    break
        return found

    def steps(self) -> Iterator[Steps]:
        for steps in sequences(self.length, self.first, self.events, self.settle):
            has = not self.having or any(event in self.having for event, _ in steps)
            if has and self.setting.allows(steps):
                yield steps


@dataclass(frozen=True)
class Walks:
    """Random ones, by seed."""

    seeds: range

    def run(self, most: int = MOST_FAILURES) -> Found:
        """Play them, until ``most`` have failed."""
        found = Found()
        for seed in self.seeds:
            setting, steps = a_walk(Random(seed))
            with Checker(setting) as checker:
                found.check(checker, steps, f"--walks 1 --seed {seed}")
            if len(found.wrong) >= most:
                break
        return found


Work: TypeAlias = Batch | Walks


def everyday(first: Event) -> list[Batch]:
    """What the tests play of those that begin with ``first``: all of up to three of the usual
    events over TCP and over TLS, that on a socket pair if its peer need not reset; and without
    turns between them on a socket pair. Of all events, up to two."""
    plain, tls, tls_over_tcp = Setting(), Setting(tls=True), Setting(tls=True, tcp=True)
    batches = [
        Batch(setting, first, 2, ALL, settle, having=FURTHER)
        for setting in (plain, tls)
        for settle in (True, False)
    ]
    if first in USUAL:
        batches += [
            Batch(Setting(tcp=True), first),
            Batch(plain, first, settle=False),
            Batch(tls, first),
            Batch(tls_over_tcp, first, having=(Event.RESET,)),
        ]
    return batches


def batches(
    settings: Iterable[Setting], length: int, events: tuple[Event, ...], hurried: bool
) -> list[Batch]:
    """Every sequence over each of the settings; with ``hurried``, also without turns between the
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
    size = WALKS_OF_A_BATCH
    return [Walks(seeds[start : start + size]) for start in range(0, len(seeds), size)]


def side_by_side(work: Sequence[Work], jobs: int) -> Iterator[Found]:
    """What comes of each, as it comes, from so many processes."""
    if jobs <= 1 or len(work) == 1:
        yield from map(_run, work)
        return
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=spawn, initializer=faulthandler.enable) as processes:
        under_way = {processes.submit(_run, each): each for each in work}
        try:
            for future in as_completed(list(under_way)):
                found = future.result()
                del under_way[future]
                yield found
        except BrokenProcessPool:
            likely = list(under_way.values())[: 2 * jobs]
            yield Found(wrong=[f"a process died; it played one of {likely}"])
        finally:
            processes.shutdown(cancel_futures=True)


def _run(work: Work) -> Found:
    return work.run()


def play(steps: Steps, settings: Iterable[Setting]) -> Iterator[Found]:
    """One sequence over each of the settings that allow it."""
    for setting in settings:
        if setting.allows(steps):
            found = Found()
            with Checker(setting) as checker:
                try:
                    found.ends[checker.check(steps)] += 1
                except Difference as error:
                    found.wrong.append(str(error))
            yield found


def parser() -> argparse.ArgumentParser:
    """The command line's."""
    options = argparse.ArgumentParser(
        prog="python -m fuzz.sequences",
        description="Every sequence of events on a connection, and random walks: what is promised"
        " must come of them, on all engines alike.",
    )
    add = options.add_argument
    add("--length", type=int, help="most events of a sequence (3; with --walks: no sequences)")
    add("--all", action="store_true", help="all events, those that a handler brings about, too")
    add("--hurried", action="store_true", help="also with no turn of the loop between the events")
    over = "plain-unix, plain-tcp, tls-unix or tls-tcp; may be repeated (all four)"
    add("--over", type=_argument(parse_setting), action="append", metavar="SETTING", help=over)
    add("--walks", type=int, default=0, help="how many walks of thirty events (0)")
    add("--seed", type=int, default=0, help="of the first walk; the next has the next (0)")
    one = "one sequence, such as 'frame pause+ half-close'; + is for no turn of the loop behind it"
    add("--play", type=_argument(parse_steps), metavar="STEPS", help=one)
    cores = len(os.sched_getaffinity(0))
    add("--jobs", type=int, default=cores, help=f"processes ({cores})")
    return options


_Parsed = TypeVar("_Parsed")


def _argument(parse: Callable[[str], _Parsed]) -> Callable[[str], _Parsed]:
    def parsed(text: str) -> _Parsed:
        try:
            return parse(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return parsed


def results(options: argparse.Namespace) -> Iterator[Found]:
    """What comes of what the command line asks for."""
    settings = options.over or OVER_ALL
    if options.play is not None:
        return play(options.play, settings)
    length = options.length
    if length is None:
        length = 0 if options.walks else 3
    work: list[Work] = []
    if length:
        work += batches(settings, length, ALL if options.all else USUAL, options.hurried)
    work += walks(range(options.seed, options.seed + options.walks))
    return side_by_side(work, options.jobs)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    options = parser().parse_args(arguments)
    start = told = time.monotonic()
    found = Found()
    for each in results(options):
        for text in each.wrong:
            print(text, file=sys.stderr, flush=True)
        found.add(each)
        if time.monotonic() - told > PROGRESS_SECONDS:
            told = time.monotonic()
            print(f"{found.count:,} sequences, {found.count / (told - start):,.0f} a second")
    for reason, number in sorted(found.ends.items()):
        print(f"  {reason:16} {number:9,}")
    print(
        f"{found.count:,} sequences on {' and '.join(sorted(available()))} in"
        f" {time.monotonic() - start:,.0f} s, {len(found.wrong)} not as promised"
    )
    return 1 if found.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
