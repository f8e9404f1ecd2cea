"""``epollo bench``."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from epollo.bench import report
from epollo.bench.companion import echo_server
from epollo.bench.driver import Driver, allow_descriptors
from epollo.bench.result import Result
from epollo.bench.workload import Workload
from epollo.errors import EpolloError, UsageError
from epollo.units import parse_count, parse_seconds, parse_size


def _quantity(parse: Callable[[str], Any]) -> Callable[..., Any]:
    """A click callback that reads an option with one of the parsers of `epollo.units`."""

    def convert(context: click.Context, option: click.Parameter, value: str | None) -> Any:
        try:
            return None if value is None else parse(value)
        except ValueError as error:
            raise click.BadParameter(str(error)) from None

    return convert


COUNT: dict[str, Any] = {"metavar": "N", "callback": _quantity(parse_count)}
SIZE: dict[str, Any] = {"metavar": "SIZE", "callback": _quantity(parse_size)}
TIME: dict[str, Any] = {"metavar": "TIME", "callback": _quantity(parse_seconds)}

_GO = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@click.command()
@click.argument("address", required=False)
@click.option("-c", "--connections", default="100", help="[default: 100]", **COUNT)
@click.option("-n", "--messages", help="stop after so many, in all", **COUNT)
@click.option("-d", "--duration", help="[default: 10s, or until -n messages]", **TIME)
@click.option("--warmup", default="1s", help="not measured  [default: 1s]", **TIME)
@click.option("--depth", default="1", help="outstanding a connection  [default: 1]", **COUNT)
@click.option("-s", "--size", default="64", help="of a message  [default: 64]", **SIZE)
@click.option("-f", "--framing", metavar="SPEC", default="u32", help="[default: u32]")
@click.option("--timeout", default="5s", help="for connect and reply  [default: 5s]", **TIME)
@click.option("--json", "json_file", metavar="FILE", help="write the result; - for stdout")
@click.option("-q", "--quiet", is_flag=True, help="print no progress and no report")
def bench(address: str | None, json_file: str | None, quiet: bool, **options: Any) -> int:
    """Load a framed server at ADDRESS and measure every round trip.

    Without ADDRESS, an echo server is started beside the test, in a process of its own. Every
    reply is verified to the byte; exit status 1 if anything was lost, late or wrong.
    """
    if json_file not in (None, "-"):
        _check_writable(Path(json_file))
    if options["messages"] is None and options["duration"] is None:
        options["duration"] = 10.0
    probe = Workload(address=address or "127.0.0.1:1", **options)
    max_frame = probe.new_framing().max_frame
    allow_descriptors(probe.connections)  # before the server is started, which inherits them
    beside = nullcontext(address) if address else echo_server(probe.framing, max_frame)
    with beside as target:
        result = _run(Workload(address=str(target), **options), quiet)
    if json_file == "-":
        click.echo(result.to_json())
    elif not quiet:
        click.echo(report.text(result))
    if json_file not in (None, "-"):
        _write(Path(json_file), result.to_json() + "\n")
    return 1 if result.failed else 0


def _run(workload: Workload, quiet: bool) -> Result:
    with report.Live(workload, Console(stderr=True, quiet=quiet)) as live:
        driver = Driver(workload, progress=live.update)
        with _interrupt(driver.stop):
            return driver.run()


@contextmanager
def _interrupt(stop: Callable[[], object]) -> Iterator[None]:
    """Ctrl-C ends the run early, with a report of what was measured; a second one at once.

    So do the other signals that ask a program to go: a server beside the test is not to survive.
    """

    def handle(number: int, frame: object) -> None:
        signal.signal(number, signal.default_int_handler)
        stop()

    wanted = [number for number in _GO if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, handle) for number in wanted}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _check_writable(file: Path) -> None:
    """Before the run, not after it."""
    there = file if file.exists() else file.absolute().parent
    if file.is_dir():
        raise UsageError(f"--json {file}: is a directory; name a file")
    if file != there and not there.is_dir():
        raise UsageError(f"--json {file}: there is no directory {there}")
    if not os.access(there, os.W_OK):
        raise UsageError(f"--json {file}: no permission to write there")


def _write(file: Path, text: str) -> None:
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise EpolloError(f"cannot write the result to {file}: {error.strerror}") from error
