"""Does the memory of the load tester grow in a long run? An open loop against an echo server, and
the resident memory of the tester, minute by minute.

python -m benchmarks.endurance --minutes 20 --engine native
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from epollo.child_process import child_process, ready_address

RATE = 1500  # messages a second
SETTLED = 0.25  # of the run, in which memory may grow
MOST = 1024  # KiB of growth after that
SAMPLES_SECONDS = 1.0


def resident(process: int) -> int:
    """Return the resident memory of a process that is its own, in KiB (proc(5), RssAnon)."""
    status = Path(f"/proc/{process}/status").read_text()
    fields = dict(line.split(":", 1) for line in status.splitlines())
    return int(fields["RssAnon"].split()[0])


def measure(address: str, arguments: argparse.Namespace, file: Path) -> list[int]:
    """Run the tester to its end; return its memory, second by second."""
    command = [sys.executable, "-m", "epollo", "bench", address, "--json", str(file), "-q"]
    command += ["--rate", str(RATE), "-d", f"{arguments.minutes}m", "--engine", arguments.engine]
    tester = subprocess.Popen(command)
    end = time.monotonic() + 60 * arguments.minutes
    samples = []
    try:
        while time.monotonic() < end and tester.poll() is None:
            samples.append(resident(tester.pid))
            time.sleep(SAMPLES_SECONDS)
        if tester.wait() not in (0, 1):
            raise SystemExit("the tester failed; see its error above")
    finally:
        tester.kill()
        tester.wait()
    return samples


def main() -> None:
    """Measure, print a line a minute and the growth; exit with 1 if that is a megabyte or more."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--engine", default="native", choices=["native", "python"])
    arguments = parser.parse_args()
    serve = [sys.executable, "-m", "epollo", "serve", "--bind", "127.0.0.1:0"]
    with tempfile.TemporaryDirectory() as folder, child_process(serve) as server:
        samples = measure(ready_address(server), arguments, Path(folder) / "run.json")
    for minute, start in enumerate(range(0, len(samples), 60)):
        print(f"minute {minute:3}  {max(samples[start : start + 60]):,} KiB")
    settled = samples[round(len(samples) * SETTLED) :]
    quarter = max(1, len(settled) // 4)
    growth = max(settled[-quarter:]) - max(settled[:quarter])
    print(
        f"{arguments.engine}: {growth:,} KiB more after {SETTLED:.0%} of the run, {MOST:,} allowed"
    )
    sys.exit(growth >= MOST)


if __name__ == "__main__":
    main()
