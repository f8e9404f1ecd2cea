"""``epollo bench``: what is written on its command line.

What it does is imported when it is called: `epollo serve` must not wait for a load tester.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from epollo.cli.options import parsed
from epollo.errors import UsageError
from epollo.units import parse_count, parse_number, parse_seconds

Command = TypeVar("Command", bound=Callable[..., Any])

# The subjects, under which the help has the options.
AMOUNT = "How much"
CLOSED = "Closed loop: a reply calls for the next message"
OPEN = "Open loop: messages go out by the clock, and wait for no reply"
MESSAGE = "What is sent, and what comes back"
CONNECTION = "Connections"
TLS = "TLS"
TESTER = "The tester itself"
FILES = "Files: - is stdout, without a report"
JUDGE = "For scripts and CI"
HELP = "Help"


def _addresses(text: str) -> tuple[str, ...]:
    parts = tuple(part.strip() for part in text.split(","))
    if not all(parts):
        raise ValueError(f"{text!r} has an empty address in it")
    return parts


# What stands behind a flag, and what it is made into; a Workload reads the others itself.
COUNT: dict[str, Any] = {"metavar": "N", "callback": parsed(parse_count)}
NUMBER: dict[str, Any] = {"metavar": "N", "callback": parsed(parse_number)}
TIME: dict[str, Any] = {"metavar": "TIME", "callback": parsed(parse_seconds)}
ADDRESSES: dict[str, Any] = {"metavar": "ADDR,...", "callback": parsed(_addresses)}
SIZE: dict[str, Any] = {"metavar": "SIZE"}
RATE: dict[str, Any] = {"metavar": "RATE"}
FILE: dict[str, Any] = {"metavar": "FILE"}
TEXT: dict[str, Any] = {"metavar": "TEXT"}
SPEC: dict[str, Any] = {"metavar": "SPEC"}
NAME: dict[str, Any] = {"metavar": "NAME"}
FLAG: dict[str, Any] = {"is_flag": True, "default": None}


class Grouped(click.Command):
    """A command whose help has its options by subject."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        subjects: dict[str, list[tuple[str, str]]] = {}
        for option in self.get_params(ctx):
            record = option.get_help_record(ctx)
            if record is not None and isinstance(option, click.Option):
                subjects.setdefault(getattr(option, "subject", HELP), []).append(record)
        for subject, records in subjects.items():
            with formatter.section(subject):
                formatter.write_dl(records)


class Option(click.Option):
    """An option that knows its subject, and has something behind it: what a script's variable has
    left empty must not seem to be heard."""

    def __init__(self, *args: Any, subject: str, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.subject = subject

    def process_value(self, ctx: click.Context, value: Any) -> Any:
        if "" in (value if isinstance(value, list | tuple) else [value]):
            flag = max(self.opts, key=len)
            raise UsageError(f"{flag}: is empty; write {flag} {self.metavar}, or leave it out")
        return super().process_value(ctx, value)


def _option(
    subject: str, *names: str, about: str, default: str = "", **settings: Any
) -> Callable[[Command], Command]:
    """An option that is None where it is not given, so that a Workload's own default holds: the
    one that ``default`` tells."""
    about += f"  [default: {default}]" if default else ""
    return click.option(*names, cls=Option, subject=subject, help=about, **settings)


@click.command(
    cls=Grouped,
    epilog="Times take ms, s, m or h; sizes KiB or MiB; counts and rates k or m.",
)
@click.argument("address", required=False)
@_option(AMOUNT, "-c", "--connections", about="Kept open.", default="100", **COUNT)
@_option(AMOUNT, "-n", "--messages", about="To send in all, after the warm-up; then stop.", **COUNT)
@_option(AMOUNT, "-d", "--duration", about="To measure.", default="10s, or until -n", **TIME)
@_option(AMOUNT, "--warmup", about="Before that, not measured.", default="1s", **TIME)
@_option(AMOUNT, "--timeout", about="Of each connect and each reply.", default="5s", **TIME)
@_option(CLOSED, "--depth", about="Outstanding on each connection.", default="1", **COUNT)
@_option(CLOSED, "--think", about="From a reply to the next message.", default="0s", **TIME)
@_option(
    OPEN,
    *("-R", "--rate"),
    about="A second, in all: 50k; a ramp, 10k..100k/10s; or steps, 10k/5s,20k/5s.",
    **RATE,
)
@_option(OPEN, "--arrival", about="constant or poisson.", default="constant", **NAME)
@_option(
    OPEN,
    "--find-rate",
    about="Find the highest rate with 'p99<5ms' or the like, from --rate on; may be repeated.",
    multiple=True,
    metavar="LIMIT",
)
@_option(
    MESSAGE,
    *("-s", "--size"),
    about="64, any of 64..1KiB, or a list with weights, 64:9,1KiB:1.",
    default="64",
    **SIZE,
)
@_option(MESSAGE, "--payload", about="Whose bytes are each message.", **FILE)
@_option(
    MESSAGE, "--template", about="With {number}, {connection} and {time} to be filled in.", **TEXT
)
@_option(MESSAGE, "-f", "--framing", about="What a message is on the wire.", default="u32", **SPEC)
@_option(
    MESSAGE,
    "--expect",
    about="The right reply: echo, any, or module:function that says so.",
    default="echo",
    **SPEC,
)
@_option(CONNECTION, "--connection-rate", about="Opened a second, at most.", **NUMBER)
@_option(CONNECTION, "--reconnect-every", about="Messages; then a new connection.", **COUNT)
@_option(CONNECTION, "--source", about="Addresses to connect from, in turn.", **ADDRESSES)
@_option(CONNECTION, "--proxy-header", about="v1 or v2 of the PROXY protocol, first.", **NAME)
@_option(TLS, "--tls", about="Speak TLS.", **FLAG)
@_option(TLS, "--tls-ca", about="Whom to trust; any: do not ask.", default="the system's", **FILE)
@_option(TLS, "--tls-cert", about="The tester's own certificate.", **FILE)
@_option(TLS, "--tls-key", about="And its key.", **FILE)
@_option(
    TLS, "--server-name", about="In the server's certificate.", default="ADDRESS's host", **NAME
)
@_option(TESTER, "--processes", about="Among which the load is divided.", default="1", **COUNT)
@_option(TESTER, "--engine", about="auto, native or python.", default="auto", **NAME)
@_option(TESTER, "--seed", about="Of all that is drawn by chance.", default="1", **COUNT)
@_option(FILES, "--json", about="All of the result; epollo report reads it.", **FILE)
@_option(FILES, "--hlog", about="Histograms, for HdrHistogram's own tools.", **FILE)
@_option(FILES, "--csv", about="A line a second.", **FILE)
@_option(FILES, "--html", about="A page with pictures and tables.", **FILE)
@_option(FILES, "--plot", about="A picture, .png or .svg.", **FILE)
@_option(
    JUDGE,
    "--fail-if",
    about="Exit with 1 if 'p99>5ms', 'rate<50k' or the like; may be repeated.",
    multiple=True,
    metavar="LIMIT",
)
@_option(JUDGE, "-q", "--quiet", about="Show no progress and no report.", is_flag=True)
def bench(
    address: str | None,
    find_rate: tuple[str, ...],
    fail_if: tuple[str, ...],
    quiet: bool,
    **given: Any,
) -> int:
    """Load a framed server at ADDRESS, and verify and time every reply.

    Without ADDRESS, an echo server is started beside the test, in a process of its own. Without
    --rate, each connection waits for its replies: a closed loop, which shows how fast a server can
    go. With it, messages are due at times planned ahead: an open loop, which shows how long users
    wait.

    Exit status 1 if anything was lost, late or wrong, a limit of --fail-if was passed, or no rate
    was found.
    """
    from epollo.bench.cli.session import find, session
    from epollo.bench.output.files import Outputs
    from epollo.bench.results import thresholds

    if address == "":
        raise UsageError("address: is empty; write HOST:PORT, or leave it out for an echo server")
    wanted = {name: value for name, value in given.items() if value is not None}
    files = {name: wanted.pop(name) for name in Outputs.__slots__ if name in wanted}
    if find_rate:
        _only_searching(fail_if, wanted)
        required = [thresholds.requirement(text) for text in find_rate]
        return find(address, wanted, Outputs(**files), required, quiet)
    limits = [thresholds.parse(text) for text in fail_if]
    return session(address, _load(wanted), Outputs(**files), limits, quiet)


def _load(given: dict[str, Any]) -> dict[str, Any]:
    """The fields of a Workload. Raises UsageError for flags that would go unheard."""
    if "messages" in given and "duration" not in given:
        given["duration"] = None
    _only_one(given, "size", "payload", "template")
    if "/" in given.get("rate", "") and given.get("duration") is not None:
        raise UsageError("--duration: --rate says how long each step is; leave one of them out")
    return given


def _only_searching(fail_if: tuple[str, ...], given: dict[str, Any]) -> None:
    """Raises UsageError for flags that a search would not hear."""
    if fail_if:
        raise UsageError("--fail-if: --find-rate has limits of its own; give them all to that")
    if "messages" in given:
        raise UsageError("--messages: --find-rate runs for --duration at each rate; leave it out")
    _only_one(given, "size", "payload", "template")


def _only_one(given: dict[str, Any], *names: str) -> None:
    found = [f"--{name}" for name in names if name in given]
    if len(found) > 1:
        raise UsageError(f"{' and '.join(found)}: each says what is sent; give one of them")
