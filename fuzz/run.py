"""The command `python -m fuzz`: many streams, by seed, on all cores; how many ended in what way."""

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
from concurrent.futures.process import BrokenProcessPool
from random import Random
from typing import TypeAlias

from fuzz import cutting, loops, network, phases
from fuzz.difference import Difference

BATCH = 500  # streams that a process takes at a time
SCENE_EVERY = 20  # seeds; each of them is also the seed of a scene on the loops
PROGRESS_SECONDS = 10.0
MOST_DIFFERENCES = 10

Key: TypeAlias = tuple[str, str, str]
Work: TypeAlias = tuple[range, str]
Found: TypeAlias = tuple[int, Counter[Key], list[str]]
"""How many streams a batch had, their outcomes, and what went wrong."""


def parser() -> argparse.ArgumentParser:
    """The command line's."""
    options = argparse.ArgumentParser(
        prog="python -m fuzz", description="Random streams through both engines, which must agree."
    )
    options.add_argument("--streams", type=int, default=20_000, help="how many (20000)")
    options.add_argument("--seed", type=int, default=0, help="of the first; the next has the next")
    options.add_argument(
        "--through",
        choices=("all", *WAYS),
        default="all",
        help="decoders: streams; loops, network: scenes, good and bad; phases: streams whose "
        f"framing changes; all: decoders for each seed, the others for 1 in {SCENE_EVERY}",
    )
    cores = len(os.sched_getaffinity(0))
    options.add_argument("--jobs", type=int, default=cores, help=f"processes ({cores})")
    return options


def through_decoders(seed: int) -> Key:
    """The stream of that seed: of what framing it was, and how it ended. Raises Difference."""
    stream, outcome = cutting.agree(Random(seed))
    return "decoders", stream.family, outcome


def through_loops(seed: int) -> Key:
    """The scene of that seed: of what kind it was, and how it ended. Raises Difference."""
    scene, reason = loops.agree(Random(seed))
    return "loops", str(scene.kind), reason


def through_network(seed: int) -> Key:
    """The scene of that seed on a bad network: of what kind it was, and how it ended. Raises
    Difference."""
    scene, reason = network.agree(Random(seed))
    return "network", str(scene.kind), reason


def through_phases(seed: int) -> Key:
    """The stream of that seed, whose framing changes, and how it ended. Raises Difference."""
    return "phases", "with phases", phases.agree(Random(seed))


WAYS = {
    "decoders": through_decoders,
    "loops": through_loops,
    "phases": through_phases,
    "network": through_network,
}


def batch(work: Work) -> Found:
    seeds, through = work
    counts: Counter[Key] = Counter()
    wrong = []
    for seed in seeds:
        for name, run in WAYS.items():
            if through == name or (through == "all" and sampled(name, seed)):
                try:
                    counts[run(seed)] += 1
                except Exception as error:
                    what = str(error) if isinstance(error, Difference) else repr(error)
                    replay = f"python -m fuzz --streams 1 --seed {seed} --through {name}"
                    wrong.append(f"{what}\n  replay: {replay}")
    return len(seeds), counts, wrong


def sampled(through: str, seed: int) -> bool:
    """Is it for this seed, where all ways are taken?"""
    if through == "network" and not network.loaded():
        return False
    return through == "decoders" or seed % SCENE_EVERY == 0


def batches(seed: int, streams: int, through: str) -> Iterator[Work]:
    for start in range(seed, seed + streams, BATCH):
        yield range(start, min(start + BATCH, seed + streams)), through


def summary(counts: Counter[Key]) -> Iterator[str]:
    """A line for each framing, and each kind of scene, with the count of each outcome."""
    for through, what in (
        ("decoders", "framing"),
        ("loops", "scene"),
        ("phases", "stream"),
        ("network", "bad network"),
    ):
        names = sorted({name for way, name, _ in counts if way == through})
        for name in names:
            found = {key[2]: count for key, count in counts.items() if key[:2] == (through, name)}
            outcomes = ", ".join(f"{outcome} {count:,}" for outcome, count in sorted(found.items()))
            yield f"  {what} {name:<13}{sum(found.values()):>10,}: {outcomes}"


def total(counts: Counter[Key], through: str) -> int:
    return sum(count for key, count in counts.items() if key[0] == through)


def run(results: Iterable[Found], streams: int) -> int:
    """Gather the results, tell of them, and return the exit status."""
    start = told = time.monotonic()
    done, differences = 0, 0
    counts: Counter[Key] = Counter()
    for size, found, wrong in results:
        done += size
        differences += len(wrong)
        counts += found
        for text in wrong:
            print(text, file=sys.stderr, flush=True)
        if differences >= MOST_DIFFERENCES:
            break
        if time.monotonic() - told > PROGRESS_SECONDS:
            told = time.monotonic()
            rate = done / (told - start)
            print(f"{done:,} of {streams:,} streams, {rate:,.0f} a second", flush=True)
    print("\n".join(summary(counts)))
    seconds = time.monotonic() - start
    decoded, played, changed, disturbed = (total(counts, way) for way in WAYS)
    print(
        f"{done:,} streams in {seconds:,.0f} s: {decoded:,} through the decoders, {played:,} scenes"
        f" through the loops, {changed:,} streams with phases, {disturbed:,} on a bad network, "
        f"{differences} differences"
    )
    return 1 if differences else 0


def side_by_side(work: Sequence[Work], jobs: int) -> Iterator[Found]:
    """The batches' results, as they come, from so many processes."""
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=spawn, initializer=faulthandler.enable) as processes:
        under_way = {processes.submit(batch, each): each[0] for each in work}
        try:
            for future in as_completed(list(under_way)):
                found = future.result()
                del under_way[future]
                yield found
        except BrokenProcessPool:
            first = [f"--seed {seeds.start}" for seeds in list(under_way.values())[: 2 * jobs]]
            replay = f"python -m fuzz --jobs 1 --streams {BATCH} with {' or '.join(first)}"
            yield 0, Counter(), [f"a process died\n  replay: {replay}"]
        finally:
            processes.shutdown(cancel_futures=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    options = parser().parse_args(arguments)
    if options.through == "network" and not network.loaded():
        parser().error("--through network: needs a C compiler, and to be run as python -m fuzz")
    work = list(batches(options.seed, options.streams, options.through))
    if options.jobs <= 1 or len(work) == 1:
        return run(map(batch, work), options.streams)
    return run(side_by_side(work, options.jobs), options.streams)
