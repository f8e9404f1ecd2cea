"""The figures as tables and notes: coloured at a terminal, Markdown elsewhere."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table

from epollo.lab.backlog import PROMPT, BacklogResult, QueueResult
from epollo.lab.comparison import ComparedServer, Comparison, Median
from epollo.lab.pollers import PollersResult, WakeUp
from epollo.units import format_seconds, format_size

UNBOUNDED = 200  # columns, without a terminal


def new_console(stderr: bool) -> Console:
    """A console; without a terminal it neither colours nor breaks lines."""
    console = Console(stderr=stderr, highlight=False, markup=False)
    if not console.is_terminal:
        console.width = UNBOUNDED
    return console


def say(console: Console, text: str) -> None:
    """Print a paragraph: wrapped at a terminal, one line elsewhere."""
    console.print(text, soft_wrap=not console.is_terminal)


def show(console: Console, table: Table) -> None:
    """Print the table; without a terminal, without spaces at the ends of lines."""
    if console.is_terminal:
        console.print(table)
        return
    with console.capture() as capture:
        console.print(table)
    lines = [line.rstrip() for line in capture.get().splitlines()]
    say(console, "\n" + "\n".join(line for line in lines if line))


def pollers_table(result: PollersResult, console: Console) -> Table:
    """The time of one wake-up: a row for each number of idle connections, a column a poller."""
    names = list(dict.fromkeys(w.poller for w in result.wake_ups))
    table = _table(["idle connections", *names], console)
    cells = {(w.idle, w.poller): _wake_up(w) for w in result.wake_ups}
    for idle in dict.fromkeys(w.idle for w in result.wake_ups):
        table.add_row(f"{idle:,}", *(cells[idle, name] for name in names))
    return table


def backlog_table(result: BacklogResult, console: Console) -> Table:
    """The clients' results and the kernel's counters: a row for each queue."""
    prompt, wait = format_seconds(PROMPT), format_seconds(result.results[0].wait)
    headings = ["accept queue", "connect OK", f"reply within {prompt}"]
    headings += [f"{prompt} to {wait}", "never", "last reply"]
    headings += ["SYN retries", "queue full", "SYN cookies"]
    table = _table(headings, console)
    for found in result.results:
        table.add_row(*_outcomes(found), *_kernel(found))
    return table


def backlog_notes(result: BacklogResult) -> list[str]:
    """What the figures show apart from the claim."""
    notes = []
    worst = max(result.results, key=lambda found: found.connected_unserved)
    if worst.connected_unserved:
        notes.append(
            f"A successful connect proves nothing: with a queue of {worst.queue:,}, "
            f"{worst.connected:,} of {worst.clients:,} connects succeeded, and "
            f"{worst.connected_unserved:,} of those clients had no reply in "
            f"{format_seconds(worst.wait)} from a server that was free after "
            f"{format_seconds(result.busy)}."
        )
    if any(found.counters.get("SyncookiesSent") for found in result.results):
        notes.append(
            "SYN cookies: the SYNs that were dropped at a full queue are sent again together. The "
            "kernel answers those beyond the queue with cookies and keeps no state (tcp(7)), so "
            "their connect succeeds without a place in the queue. Their data is dropped until they "
            "get a place, and sent again at ever longer intervals. Which clients get one differs "
            "from run to run."
        )
    for found in result.results:
        if found.length < found.queue:
            notes.append(f"A queue of {found.queue:,} was cut to somaxconn, {found.length:,}.")
    return notes


def peers_table(result: Comparison, console: Console) -> Table:
    """Rates, ratios and the CPU time of a message: a row for each server."""
    columns = ("messages/s", "ratio", "CPU each")
    headings = [f"depth {depth}: {name}" for depth in result.depths for name in columns]
    table = _table(["server", *headings], console)
    table.columns[0].justify = "left"
    for server in result.servers:
        table.add_row(server.label, *_results(result, server))
    return table


def peers_notes(result: Comparison) -> list[str]:
    """The measurement, and its limits."""
    notes = [
        f"{result.connections:,} connections, messages of {format_size(result.size)}, closed loop; "
        f"rounds: {result.rounds} of {format_seconds(result.seconds)}, the servers in turn. The "
        f"median, with the lowest and the highest; ratios to {result.base.label}, within a round. "
        "CPU each: the server's CPU time for a message, which does not depend on the load."
    ]
    if not result.pinned:
        notes.append(
            "Server and load were not pinned to two cores: they took time from each other."
        )
    held = [depth for depth in result.depths if result.limited_by_load(result.base, depth)]
    if held:
        depths = " and ".join(map(str, held))
        notes.append(
            f"At depth {depths} the load tester was the limit: {result.base.label} was not fully "
            "busy. The true ratios are further from 1; compare CPU each instead."
        )
    return notes


def _results(result: Comparison, server: ComparedServer) -> list[str]:
    if server.missing is not None:
        others = [""] * (3 * len(result.depths) - 1)
        return [f"not installed: pip install {server.missing}", *others]
    cells = []
    for depth in result.depths:
        cost = result.cost(server, depth)
        cells.append(f"{result.rate(server, depth).median:,.0f}")
        cells.append(_ratio(result.ratio(server, depth)))
        cells.append("-" if cost is None else format_seconds(cost))
    return cells


def _ratio(figure: Median) -> str:
    return f"{figure.median:.2f} ({figure.lowest:.2f}-{figure.highest:.2f})"


def _table(headings: Sequence[str], console: Console) -> Table:
    if console.is_terminal:  # narrow, so that the nine columns of backlog fit into 80
        table = Table(box=box.SIMPLE, padding=(0, 0, 0, 1), pad_edge=False)
    else:
        table = Table(box=box.MARKDOWN)
    for heading in headings:
        table.add_column(heading, justify="right", overflow="fold")
    return table


def _wake_up(wake_up: WakeUp) -> str:
    if wake_up.median is None:
        return f"no: descriptor {wake_up.refused}"
    return format_seconds(wake_up.median)


def _outcomes(found: QueueResult) -> list[str]:
    last = "-" if found.last_reply is None else format_seconds(found.last_reply)
    counts = (found.queue, found.connected, found.prompt, found.late, found.never)
    return [*(f"{count:,}" for count in counts), last]


def _kernel(found: QueueResult) -> list[str]:
    names = ("TCPSynRetrans", "ListenOverflows", "SyncookiesSent")
    return [f"{found.counters[name]:,}" if name in found.counters else "-" for name in names]
