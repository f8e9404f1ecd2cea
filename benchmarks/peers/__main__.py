"""The command `python -m benchmarks.peers`."""

import argparse
import signal
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from benchmarks import build, compiled, machine
from benchmarks.__main__ import PARTIAL_RESULTS, QUICK_RESULTS, RESULTS, count, line, names
from benchmarks.errors import BenchmarkError
from benchmarks.parts import table
from benchmarks.parts.part import Part, Turn, all_rounds
from benchmarks.peers import instructions, page, split_frames, versions
from benchmarks.peers.catalogue import PEERS, Peer
from benchmarks.peers.making import FOLDER
from benchmarks.peers.page import Results
from benchmarks.plan import FULL, TINY, Plan
from benchmarks.points import HUGE, POINTS, select
from benchmarks.process import serving
from benchmarks.servers import FORMS, IN_PLACE, LIMIT, NATIVE, PYTHON, Server

OURS = (*(form for form in FORMS if form.label.count("handle(")), *compiled.SERVERS)
USUAL_POINTS = tuple(point for point in POINTS if point is not HUGE)
FOLLOWED = {server.name for server in (LIMIT, IN_PLACE, *OURS)} | {
    peer.server.name for peer in PEERS if peer.followed
}
QUICKLY_FOLLOWED = {LIMIT.name, IN_PLACE.name, "libuv"}


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    options = argparse.ArgumentParser(
        prog="python -m benchmarks.peers",
        description="Measure epollo beside servers in other languages, those that are installed.",
    )
    several = "NAME[,NAME]"
    options.add_argument("--rounds", type=count, default=5, help="turns of every server")
    options.add_argument("--seconds", type=float, default=1.0, help="window of a measurement")
    options.add_argument("--warmup", type=float, default=0.5, help="seconds before the window")
    options.add_argument(
        "--only", type=names(chosen), default=PEERS, metavar=several,
        help=f"of {', '.join(peer.server.name for peer in PEERS)}",
    )  # fmt: skip
    options.add_argument(
        "--points", type=names(select), default=USUAL_POINTS, metavar=several,
        help=f"of {', '.join(point.name for point in POINTS)}; default: all but the last",
    )  # fmt: skip
    options.add_argument("--check", action="store_true", help="of split frames, and no more")
    options.add_argument(
        "--no-instructions", action="store_true", help="without those that callgrind counts"
    )
    options.add_argument(
        "--instructions", action="store_true", help="those alone, whatever else the machine does"
    )
    options.add_argument("--output", type=Path, metavar="DIR", help="for the results")
    options.add_argument(
        "--quick", action="store_true", help="one round of 0.3 s, to see that all works"
    )
    return options


def chosen(wanted: list[str]) -> tuple[Peer, ...]:
    """Return the named peers, in their order."""
    known = [peer.server.name for peer in PEERS]
    unknown = set(wanted) - set(known)
    if unknown:
        raise ValueError(f"no peer is called {', '.join(unknown)}; there are {', '.join(known)}")
    return tuple(peer for peer in PEERS if peer.server.name in wanted)


def prepare(peers: Sequence[Peer], left_out: list[str]) -> tuple[Server, ...]:
    """Compile everything, and check each with split frames; return those that can be measured."""
    machine.allow_descriptors()
    for program in (build.ECHO_SERVER, build.LOAD):
        build.build(program)
    compiled.build_all()
    FOLDER.mkdir(parents=True, exist_ok=True)
    core, _ = machine.cores()
    measured = []
    made = {peer.server.name: peer.make for peer in peers}
    for server in (LIMIT, IN_PLACE, *OURS, *(peer.server for peer in peers)):
        try:
            if server.missing:
                raise BenchmarkError(server.missing)
            made.get(server.name, list)()
            with serving(server, core) as running:
                split_frames.check(running.port)
        except BenchmarkError as error:
            if server is LIMIT:
                raise
            left_out.append(f"{server.label}: {error}")
            print(f"left out: {left_out[-1]}", flush=True)
        else:
            measured.append(server)
            print(f"split frames: {server.label}: right", flush=True)
    return tuple(measured)


def turns(plan: Plan, number: int) -> Iterator[Turn]:
    """Yield the turns of a round."""
    for point in plan.points:
        for server in plan.servers:
            yield Turn(point.name, server, partial(table.measure, plan.scale.connections, point))


PART = Part(page.NAME, all_rounds, turns, lambda _plan, _samples: "")


def make_plan(options: argparse.Namespace, servers: tuple[Server, ...]) -> Plan:
    """Return what the command line asks for."""
    chosen_parts = (servers, (page.NAME,), options.points)
    if options.quick:
        return Plan(*chosen_parts, rounds=1, seconds=0.3, warmup=0.1, scale=TINY)
    return Plan(*chosen_parts, options.rounds, options.seconds, options.warmup, FULL)


def count_instructions(plan: Plan, left_out: list[str]) -> dict[str, dict[int, float]]:
    """Return the instructions for each message, where callgrind can follow."""
    followed = QUICKLY_FOLLOWED if plan.scale is TINY else FOLLOWED
    found = {}
    for server in plan.servers:
        if server.name not in followed:
            continue
        try:
            found[server.name] = instructions.per_message(server)
        except BenchmarkError as error:
            left_out.append(f"instructions: {error}")
            print(f"left out: {left_out[-1]}", flush=True)
        else:
            shown = ", ".join(f"depth {d}: {n:,.0f}" for d, n in found[server.name].items())
            print(f"instructions for each message: {server.label}: {shown}", flush=True)
    return found


def known_versions() -> dict[str, str]:
    """Return what is known of each server's version and its day."""
    ours = versions.of_command("git", "log", "-1", "--format=%cs")
    c = versions.of_command("cc", "--version")
    return {
        LIMIT.name: c,
        IN_PLACE.name: c,
        **{
            server.name: f"{machine.version('epollo')}, {ours}"
            for server in (NATIVE, PYTHON, *OURS)
        },
        **{peer.server.name: peer.version() for peer in PEERS if not peer.server.missing},
    }


def measure(options: argparse.Namespace) -> Results:
    """Check, measure and count, and say so line by line."""
    left_out: list[str] = []
    servers = prepare(options.only, left_out)
    plan = make_plan(options, servers)
    samples = []
    found: dict[str, dict[int, float]] = {}
    if not (options.check or options.instructions):
        for sample in PART.samples(plan):
            samples.append(sample)
            print(line(sample), flush=True)
    if not (options.check or options.no_instructions):
        found = count_instructions(plan, left_out)
    return Results(plan, samples, known_versions(), found, left_out)


def folder(options: argparse.Namespace) -> Path:
    """Return where the results go: nothing but a whole run replaces a measurement."""
    if options.output is not None:
        return Path(options.output)
    if options.quick:
        return QUICK_RESULTS
    whole = options.only == PEERS and options.points == USUAL_POINTS
    part = options.instructions or options.no_instructions
    return RESULTS if whole and not part else PARTIAL_RESULTS


def main(command_line: Sequence[str]) -> int:
    """Run it; return 0, 1 if the run failed, or 130 if it was interrupted."""
    options = parser().parse_args(command_line)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        results = measure(options)
    except BenchmarkError as error:
        print(f"peers: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("peers: interrupted", file=sys.stderr)
        return 130
    if not options.check:
        command = " ".join(["python -m benchmarks.peers", *command_line])
        page.write(folder(options), machine.describe(), command, results)
        print(f"\n{page.tables(results)}\n\nwritten to {folder(options)}/{page.NAME}.md")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
