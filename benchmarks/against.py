"""Compare this tree with another revision of it: the same server from both, in turns.

python -m benchmarks.against REVISION [--engines native,python] [--points d1,d16] [--rounds 7]

Prints the ratio of the rates, this tree's to the revision's, as the median of the rounds with its
spread. In each round both servers are measured one directly after the other, on the same core. A
round counts only if the server and the load hardly waited for their cores (`benchmarks/quiet.py`).
"""

import argparse
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from io import BytesIO
from itertools import product
from pathlib import Path
from statistics import median

from benchmarks import build, load, machine, points, quiet
from benchmarks.__main__ import count, names
from benchmarks.errors import BenchmarkError
from benchmarks.load import Window
from benchmarks.points import Point
from benchmarks.process import ROOT, serving
from benchmarks.servers import Server

CONNECTIONS = 100
ATTEMPTS = 3  # at a round, until it counts


def git(*arguments: str) -> bytes:
    """Return what a git command prints."""
    return subprocess.run(["git", *arguments], cwd=ROOT, check=True, capture_output=True).stdout


def checkout(revision: str) -> Path:
    """Return the directory with the revision, installed; it is kept in `build`."""
    commit = git("rev-parse", "--verify", f"{revision}^{{commit}}").decode().strip()
    base: Path = ROOT / "build" / "against" / commit[:12]
    site = base / "site"
    if not site.exists():
        with tarfile.open(fileobj=BytesIO(git("archive", commit))) as tar:
            tar.extractall(base / "tree", filter="data")
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
        subprocess.run([*pip, "--target", str(site), str(base / "tree")], check=True)
    return site


def server(engine: str, site: Path | None) -> Server:
    """Return the echo server of this tree, or of the revision installed in `site`."""
    serve = f"serve --bind 127.0.0.1:0 --engine {engine} --framing u32 --max-frame 2MiB".split()
    path = ("env", f"PYTHONPATH={site}") if site else ()
    name = "revision" if site else "this tree"
    return Server(name, f"{name}, {engine}", (*path, sys.executable, "-m", "epollo", *serve))


def rate(measured: Server, point: Point, window: Window, core: int) -> float:
    """Return the messages a second; 0 if the server waited too long for its core."""
    with serving(measured, core) as running:
        values = load.closed_loop(running, CONNECTIONS, point.depth, point.size, window)
    return values["rate"] if quiet.waited(values) <= quiet.QUIET else 0.0


def ratio(servers: tuple[Server, Server], point: Point, number: int, window: Window) -> float:
    """Return the ratio of one round, in which the servers take turns to be the first.

    Raises:
        BenchmarkError: something else took the cores each time.
    """
    for _ in range(ATTEMPTS):
        order = servers if number % 2 else servers[::-1]
        rates = {each.name: rate(each, point, window, 0) for each in order}
        if all(rates.values()):
            return rates["this tree"] / rates["revision"]
    raise BenchmarkError("the server had to wait for its core; end whatever else is running")


def compare(options: argparse.Namespace, site: Path) -> Iterator[str]:
    """Yield a line for each engine and point."""
    window = Window(options.seconds, 0.3, 1)
    for engine, point in product(options.engines.split(","), options.points):
        servers = server(engine, None), server(engine, site)
        ratios = sorted(ratio(servers, point, n, window) for n in range(options.rounds))
        spread = f"{ratios[0]:.3f} to {ratios[-1]:.3f}"
        yield f"{engine} engine, {point}: {median(ratios):.3f} ({spread}, {len(ratios)} rounds)"


def main() -> None:
    """Print the ratios."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.against", description=__doc__)
    parser.add_argument("revision", help="a commit, branch or tag")
    parser.add_argument("--engines", default="native,python")
    parser.add_argument("--points", type=names(points.select), default=points.POINTS[:3])
    parser.add_argument("--rounds", type=count, default=7)
    parser.add_argument("--seconds", type=float, default=1.5, help="of one measurement")
    options = parser.parse_args()
    try:
        machine.allow_descriptors()
        build.build(build.LOAD)
        for line in compare(options, checkout(options.revision)):
            print(line, flush=True)
    except subprocess.CalledProcessError as error:
        command = " ".join(error.cmd[:2])
        why = (error.stderr or b"see above").decode().strip()
        sys.exit(f"against: {options.revision}: {command} failed: {why}")
    except BenchmarkError as error:
        sys.exit(f"against: {error}")


if __name__ == "__main__":
    main()
