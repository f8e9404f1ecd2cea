"""Run an experiment, print its table and verdicts, write its files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from rich.console import Console

from epollo.cli.files import STDOUT, check_plot, check_writable
from epollo.cli.interrupts import on_interrupt
from epollo.errors import UsageError
from epollo.lab.backlog import PROMPT, run_backlog
from epollo.lab.claims import Verdict, judge_growth, judge_limit, judge_queue
from epollo.lab.comparison import run_peers
from epollo.lab.machine import this_machine
from epollo.lab.output import (
    backlog_document,
    peers_document,
    pollers_document,
    write_json,
)
from epollo.lab.pollers import run_pollers
from epollo.lab.tables import (
    backlog_notes,
    backlog_table,
    new_console,
    peers_notes,
    peers_table,
    pollers_table,
    say,
    show,
)
from epollo.units import format_seconds

Result = TypeVar("Result")


def report_pollers(
    idle: Sequence[int] | None, seconds: float, json: str | None, plot: str | None
) -> None:
    """``epollo lab pollers``. Raises UsageError before the measurement."""
    check_writable("--json", json)
    check_plot(plot)
    console, machine = new_console(stderr=json == STDOUT), this_machine()
    result = _watched(lambda progress: run_pollers(idle, seconds, progress))
    verdicts = [judge_limit(result.select_end, result.wake_ups), judge_growth(result.wake_ups)]
    say(console, str(machine))
    show(console, pollers_table(result, console))
    _say_verdicts(console, verdicts)
    if json:
        write_json(json, pollers_document(result, machine, verdicts))
    if plot:
        from epollo.cli.plotting import save
        from epollo.lab.pollers_plot import plot_pollers

        save(plot_pollers(result, machine, verdicts), plot)


def report_backlog(
    queues: Sequence[int],
    clients: int,
    busy: float,
    wait: float,
    json: str | None,
    plot: str | None,
) -> None:
    """``epollo lab backlog``. Raises UsageError before the measurement."""
    _check_times(busy, wait)
    check_writable("--json", json)
    check_plot(plot)
    console, machine = new_console(stderr=json == STDOUT), this_machine()
    result = _watched(lambda progress: run_backlog(queues, clients, busy, wait, progress))
    verdicts = [judge_queue(result.results)]
    say(console, str(machine))
    say(console, ", ".join(f"{name} {value}" for name, value in result.settings.items()))
    show(console, backlog_table(result, console))
    for note in backlog_notes(result):
        say(console, f"\n{note}")
    _say_verdicts(console, verdicts)
    if json:
        write_json(json, backlog_document(result, machine, verdicts))
    if plot:
        from epollo.cli.plotting import save
        from epollo.lab.backlog_plot import plot_backlog

        save(plot_backlog(result, machine), plot)


def report_peers(
    shape: tuple[int, Sequence[int], int],
    seconds: float,
    rounds: int,
    json: str | None,
    plot: str | None,
) -> None:
    """``epollo lab peers``; ``shape`` is connections, depths and size. Raises UsageError before
    the measurement, and EpolloError.
    """
    check_writable("--json", json)
    check_plot(plot)
    console, machine = new_console(stderr=json == STDOUT), this_machine()
    with on_interrupt():  # ends the servers too
        result = _watched(lambda progress: run_peers(*shape, seconds, rounds, progress))
    say(console, str(machine))
    show(console, peers_table(result, console))
    for note in peers_notes(result):
        say(console, f"\n{note}")
    if json:
        write_json(json, peers_document(result, machine))
    if plot:
        from epollo.cli.plotting import save
        from epollo.lab.peers_plot import plot_peers

        save(plot_peers(result, machine), plot)


def _check_times(busy: float, wait: float) -> None:
    """Raises UsageError for times that do not fit the table's columns."""
    second = format_seconds(PROMPT)
    if busy >= PROMPT:
        raise UsageError(f"--busy must be below {second}: later replies count as late")
    if wait < PROMPT:
        raise UsageError(f"--wait must be at least {second}")


def _watched(experiment: Callable[[Callable[[str], object]], Result]) -> Result:
    """Run the experiment; at a terminal, show its progress."""
    with Console(stderr=True).status("starting") as status:
        return experiment(status.update)


def _say_verdicts(console: Console, verdicts: Sequence[Verdict]) -> None:
    for verdict in verdicts:
        say(console, f"\n{verdict}")
