"""A scene on a network that misbehaves, by seed: nothing comes of that which was not there before.

The network is `network.c`, preloaded, so that both engines' own calls meet it. On the connection of
the scene it moves fewer bytes than it is asked to, makes wait, and may at some call reset it. Peer
and loop take turns in one thread, so that a seed is one run, to the call.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random

from epollo.engine import CloseReason, connection
from fuzz.difference import Difference, short
from fuzz.loops import FAULTS, Record, alike, drains, overtaken, play
from fuzz.scenes import Alike, Kind, Scene, a_scene, count_messages
from fuzz.streams import is_raw

LIBRARY = Path("build/fuzz/network.so")
LATEST_RESET = 60  # calls
MOST_MESSAGES = 20_000
DRAIN_READS = 1 << 20  # of which a network that moves single bytes makes many


def preload(command: Sequence[str]) -> None:
    """Begin this process anew with the network in it; return where it is, or cannot be made."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if loaded() or compiler is None:
        return
    source = Path(__file__).with_name("network.c")
    LIBRARY.parent.mkdir(parents=True, exist_ok=True)
    built = LIBRARY.with_suffix(f".{os.getpid()}")  # another process may be using the library
    options = ["-O2", "-Wall", "-shared", "-fPIC", "-o", str(built), str(source), "-ldl"]
    before = os.environ.pop("LD_PRELOAD", None)  # a sanitizer, which wants to be the first
    subprocess.run([compiler, *options], check=True)  # noqa: S603
    built.replace(LIBRARY)
    libraries = [*([before] if before else []), str(LIBRARY.resolve())]
    os.environ["LD_PRELOAD"] = ":".join(libraries)
    os.execv(sys.executable, [sys.executable, *command])  # noqa: S606


def loaded() -> bool:
    """Is the network in this process?"""
    return hasattr(ctypes.CDLL(None), "network_begin")


def agree(chance: Random) -> tuple[Scene, str]:
    """A scene that comes to the same on a good network and, with both engines, on a bad one; and
    the reason it ended for there. Raises Difference."""
    scene = _that_can_be_compared(chance)
    seed = chance.getrandbits(32)
    reset = chance.choice((0, 0, chance.randint(1, 6), chance.randint(1, LATEST_RESET)))
    good = play(scene, "python")
    for engine in ("python", "native"):
        bad = _play(scene, engine, seed, reset)
        differing = [*_differing(scene, good, bad, reset > 0)]
        if differing:
            how = f"a network that resets at call {reset}" if reset else "a slow network"
            lines = [f"on the {engine} engine, {how} makes a difference", f"  scene: {scene}"]
            for name in differing:
                lines += [f"  good: {name} {short(getattr(good, name))}"]
                lines += [f"  bad: {name} {short(getattr(bad, name))}"]
            raise Difference("\n".join(lines))
    return scene, bad.events[-1]


def _play(scene: Scene, engine: str, seed: int, reset: int) -> Record:
    network = ctypes.CDLL(None)

    def begin(fd: int) -> None:
        network.network_begin(fd, ctypes.c_uint64(seed), ctypes.c_long(reset))

    drain_reads, connection.DRAIN_READS = connection.DRAIN_READS, DRAIN_READS
    try:
        return play(scene, engine, begin)
    except Exception as error:
        raise Difference(f"on the {engine} engine: {error!r}\n  scene: {scene}") from error
    finally:
        connection.DRAIN_READS = drain_reads
        network.network_end()


def _that_can_be_compared(chance: Random) -> Scene:
    """Not one whose messages are what a read brought, or whose peer resets by itself; and none so
    long that it takes seconds."""
    while True:
        scene = a_scene(chance)
        differs = scene.kind is Kind.RESET or is_raw(scene.stream.framing)
        if not differs and count_messages(scene.stream) <= MOST_MESSAGES:
            return scene


def _differing(scene: Scene, good: Record, bad: Record, resets: bool) -> Iterator[str]:
    """After a reset, all is the beginning of what it would have been; and so it is with a drain,
    which takes what has arrived."""
    cut_short = resets or drains(scene)
    messages = Alike.PREFIX if cut_short else scene.messages_alike
    received = Alike.PREFIX if cut_short else scene.bytes_alike
    ends = [good.events] + [["connected", CloseReason.RESET]] * resets
    # Replies that are not taken pause the connection. A fault of the stream is then found behind
    # messages that are held back, before the handler ends the connection at one of these.
    found_first = scene.kind is Kind.HALT and bad.events[-1] in FAULTS
    met = overtaken(scene, good, bad)
    if bad.events not in ends and not found_first and not met:
        yield "events"
    if not alike(messages, good.messages, bad.messages):
        yield "messages"
    if not alike(received, good.received, bad.received):
        yield "received"
    if not alike(messages, good.others, bad.others):
        yield "others"
    if messages is Alike.SAME and good.logged != bad.logged and not (found_first or met):
        yield "logged"
