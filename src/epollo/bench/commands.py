"""``epollo bench``."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from epollo.bench import report
from epollo.bench.companion import echo_server
from epollo.bench.driver import Driver
from epollo.bench.result import Result
from epollo.bench.workload import Workload
from epollo.errors import UsageError
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
    _check_writable(json_file)
    if options["messages"] is None and options["duration"] is None:
        options["duration"] = 10.0
    probe = Workload(address=address or "127.0.0.1:1", **options)
    max_frame = probe.new_framing().max_frame
    beside = nullcontext(address) if address else echo_server(probe.framing, max_frame)
    with beside as target:
        result = _run(Workload(address=str(target), **options), quiet or json_file == "-")
    if json_file == "-":
        click.echo(result.to_json())
    elif json_file is not None:
        Path(json_file).write_text(result.to_json() + "\n", encoding="utf-8")
    return 1 if result.failed else 0


def _run(workload: Workload, quiet: bool) -> Result:
    console = Console(stderr=True, quiet=quiet)
    with report.Live(workload, console) as live:
        driver = Driver(workload, progress=live.update)
        with _interrupt(driver.stop):
            result = driver.run()
    if not quiet:
        click.echo(report.text(result))
    return result


@contextmanager
def _interrupt(stop: Callable[[], object]) -> Iterator[None]:
    """Ctrl-C ends the run early, with a report of what was measured; a second one at once."""

    def handle(number: int, frame: object) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        stop()

    before = signal.signal(signal.SIGINT, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _check_writable(file: str | None) -> None:
    """Before the run, not after it."""
    if file is None or file == "-":
        return
    folder = Path(file).resolve().parent
    if Path(file).is_dir() or not folder.is_dir():
        raise UsageError(f"cannot write {file!r}: {folder} is not a directory")
