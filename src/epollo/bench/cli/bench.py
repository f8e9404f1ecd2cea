"""``epollo bench``: its command line.

The rest is imported when the command is called, so that its help comes quickly.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from epollo.cli.command import traceback_option
from epollo.cli.completing import framings, suggest
from epollo.cli.configured import Configured, configured, is_shown
from epollo.cli.options import parsed
from epollo.cli.sections import Option
from epollo.errors import UsageError
from epollo.units import parse_count, parse_number, parse_seconds

_MOST_UNTIL = 600.0  # seconds

Command = TypeVar("Command", bound=Callable[..., Any])

# The sections of the help.
AMOUNT = "Amount"
CLOSED = "Closed loop: the next message follows a reply"
OPEN = "Open loop: messages are sent by the clock, without waiting for replies"
MESSAGE = "Messages and replies"
CONNECTION = "Connections"
TLS = "TLS"
TESTER = "The tester itself"
FILES = "Files (- is stdout; then no report is shown)"
SCRIPTS = "For scripts and CI"


def _addresses(text: str) -> tuple[str, ...]:
    return _parts(text, "address")


def _protocols(text: str) -> tuple[str, ...]:
    return _parts(text, "name")


def _parts(text: str, what: str) -> tuple[str, ...]:
    parts = tuple(part.strip() for part in text.split(","))
    if not all(parts):
        raise ValueError(f"{text!r} has an empty {what} in it")
    return parts


# The value of a flag and its parser; a Workload parses the others itself.
COUNT: dict[str, Any] = {"metavar": "N", "callback": parsed(parse_count)}
NUMBER: dict[str, Any] = {"metavar": "N", "callback": parsed(parse_number)}
TIME: dict[str, Any] = {"metavar": "TIME", "callback": parsed(parse_seconds)}
ADDRESSES: dict[str, Any] = {"metavar": "ADDR,...", "callback": parsed(_addresses)}
PROTOCOLS: dict[str, Any] = {"metavar": "NAME,...", "callback": parsed(_protocols)}
SIZE: dict[str, Any] = {"metavar": "SIZE"}
RATE: dict[str, Any] = {"metavar": "RATE"}
FILE: dict[str, Any] = {"metavar": "FILE"}
TEXT: dict[str, Any] = {"metavar": "TEXT"}
SPEC: dict[str, Any] = {"metavar": "SPEC"}
NAME: dict[str, Any] = {"metavar": "NAME"}
FLAG: dict[str, Any] = {"is_flag": True, "default": None}


def _option(
    section: str, *names: str, about: str, default: str = "", **settings: Any
) -> Callable[[Command], Command]:
    """An option that is None if not given, so that the Workload's default applies; ``default``
    describes it in the help."""
    complete = settings.pop("complete", None) or suggest(str(settings.get("metavar")))
    return click.option(
        *names,
        cls=Option,
        section=section,
        help=about,
        usual=default,
        shell_complete=complete,
        **settings,
    )


@click.command(
    cls=Configured,
    prefix="EPOLLO_BENCH_",
    epilog="Times take ms, s, m or h; sizes KiB or MiB; counts and rates k or m. Each option is "
    "also EPOLLO_BENCH_ and its name in the environment, as EPOLLO_BENCH_RATE, and a key in the "
    "file.",
)
@click.argument("address", required=False, metavar="[ADDRESS]")
@_option(AMOUNT, "-c", "--connections", about="Connections kept open.", default="100", **COUNT)
@_option(AMOUNT, "-n", "--messages", about="Messages to send after the warm-up.", **COUNT)
@_option(AMOUNT, "-d", "--duration", about="Measured time.", default="10s, or until -n", **TIME)
@_option(
    AMOUNT,
    "--until",
    about="End as soon as a figure is known so precisely: 'p99±5%' or 'p99+-5%', also mean and "
    "rate; may be repeated. -d or -n, or 10 minutes, is then the most.",
    multiple=True,
    metavar="GOAL",
)
@_option(AMOUNT, "--warmup", about="Warm-up, not measured.", default="1s", **TIME)
@_option(AMOUNT, "--timeout", about="Limit of each connect and each reply.", default="5s", **TIME)
@_option(CLOSED, "--depth", about="Messages outstanding per connection.", default="1", **COUNT)
@_option(CLOSED, "--think", about="Pause before the next message.", default="0s", **TIME)
@_option(
    OPEN,
    *("-R", "--rate"),
    about="Messages a second: 50k; a ramp, 10k..100k/10s; or steps, 10k/5s,20k/5s.",
    **RATE,
)
@_option(
    OPEN,
    "--arrival",
    about="Arrivals: constant or poisson.",
    default="constant",
    complete=suggest("NAME", ("constant", "poisson")),
    **NAME,
)
@_option(
    OPEN,
    "--find-rate",
    about="Find the highest rate at which 'p99<5ms' or a similar limit holds; may be repeated.",
    multiple=True,
    metavar="LIMIT",
)
@_option(
    MESSAGE,
    *("-s", "--size"),
    about="Message size: 64, a range 64..1KiB, or a list with weights, 64:9,1KiB:1.",
    default="64",
    **SIZE,
)
@_option(
    MESSAGE,
    "--payload",
    about="File with the bytes of each message; or a folder of such files, or a pipe.",
    **FILE,
)
@_option(
    MESSAGE,
    "--payload-framing",
    about="Framing of the messages in each payload file.",
    default="a file is one message",
    **SPEC,
)
@_option(
    MESSAGE,
    "--payload-order",
    about="Order of the payload's messages: turn or random.",
    default="turn",
    complete=suggest("NAME", ("turn", "random")),
    **NAME,
)
@_option(
    MESSAGE,
    "--template",
    about="Text of each message, with {number}, {connection} and {time} filled in.",
    **TEXT,
)
@_option(
    MESSAGE,
    "-f",
    "--framing",
    about="How messages are framed.",
    default="u32",
    complete=framings,
    **SPEC,
)
@_option(
    MESSAGE,
    "--expect",
    about="The correct reply: echo, any, none, or what module:function accepts.",
    default="echo",
    complete=suggest("SPEC", ("echo", "any", "none")),
    **SPEC,
)
@_option(
    MESSAGE,
    "--match",
    about="Identifier shared by a message and its reply: bytes(OFFSET,SIZE), "
    "bytes(OFFSET,SIZE,stamp), modbus, kafka ..., or module:name of a function or Match.",
    default="matched in order",
    **SPEC,
)
@_option(CONNECTION, "--connection-rate", about="Most connections opened a second.", **NUMBER)
@_option(CONNECTION, "--reconnect-every", about="Replace a connection after N messages.", **COUNT)
@_option(CONNECTION, "--source", about="Local addresses to connect from, in turn.", **ADDRESSES)
@_option(
    CONNECTION,
    "--greeting",
    about="Messages that the server sends first, not measured.",
    default="0",
    **COUNT,
)
@_option(
    CONNECTION,
    "--preamble",
    about="File with a message sent first on each connection, such as a login; not measured.",
    **FILE,
)
@_option(
    CONNECTION,
    "--preamble-replies",
    about="Replies to the preamble, not measured.",
    default="0",
    **COUNT,
)
@_option(
    CONNECTION,
    "--proxy-header",
    about="Send a PROXY header: v1 or v2.",
    complete=suggest("NAME", ("v1", "v2")),
    **NAME,
)
@_option(TLS, "--tls", about="Use TLS.", **FLAG)
@_option(TLS, "--tls-ca", about="Trusted CAs; any: do not verify.", default="the system's", **FILE)
@_option(TLS, "--tls-cert", about="Client certificate.", **FILE)
@_option(TLS, "--tls-key", about="Key of the client certificate.", **FILE)
@_option(TLS, "--tls-alpn", about="Application protocols to offer (ALPN).", **PROTOCOLS)
@_option(TLS, "--tls-min-version", about="Lowest TLS version: 1.2 or 1.3.", default="1.2", **NAME)
@_option(
    TLS,
    "--server-name",
    about="Name in the server's certificate.",
    default="ADDRESS's host",
    **NAME,
)
@_option(TESTER, "--processes", about="Processes that share the load.", default="1", **COUNT)
@_option(
    TESTER,
    "--cluster",
    about="Dask scheduler whose workers share the load: tcp://HOST:8786.",
    metavar="ADDRESS",
)
@_option(
    TESTER,
    "--engine",
    about="Engine: auto, native or python.",
    default="auto",
    complete=suggest("NAME", ("auto", "native", "python")),
    **NAME,
)
@click.option(
    "--floor/--no-floor",
    cls=Option,
    section=TESTER,
    usual="for runs of 2s or more",
    default=None,
    help="Measure the tester's own floor first, against a server that does nothing.",
)
@_option(TESTER, "--seed", about="Seed of all random choices.", default="1", **COUNT)
@_option(FILES, "--json", about="Write the result; epollo report reads it.", **FILE)
@_option(FILES, "--hlog", about="Write histograms for HdrHistogram's tools.", **FILE)
@_option(FILES, "--csv", about="Write a line for each second.", **FILE)
@_option(FILES, "--html", about="Write a page with pictures and tables.", **FILE)
@_option(FILES, "--plot", about="Write a picture, .png or .svg.", **FILE)
@_option(
    SCRIPTS,
    "--fail-if",
    about="Exit with 1 if 'p99>5ms', 'rate<50k' or a similar limit is broken; may be repeated.",
    multiple=True,
    metavar="LIMIT",
)
@_option(
    SCRIPTS,
    "--stop-if",
    about="As --fail-if, and end the run early when what was measured so far breaks it.",
    multiple=True,
    metavar="LIMIT",
)
@_option(
    SCRIPTS,
    "--different-load",
    about="Let limits such as 'p99>1.2*before.json' be of a run of another load.",
    is_flag=True,
)
@_option(
    SCRIPTS,
    "--metrics",
    about="Serve the run's figures to Prometheus on HOST:PORT or unix:PATH.",
    metavar="ADDRESS",
)
@_option(SCRIPTS, "-q", "--quiet", about="Show no progress and no report.", is_flag=True)
@configured("bench.toml")
@traceback_option
@click.pass_context
def bench(
    ctx: click.Context,
    /,
    address: str | None,
    find_rate: tuple[str, ...],
    until: tuple[str, ...],
    fail_if: tuple[str, ...],
    stop_if: tuple[str, ...],
    different_load: bool,
    metrics: str | None,
    quiet: bool,
    floor: bool | None,
    **given: Any,
) -> int:
    """Load-test the framed server at ADDRESS; verify and time every reply.

    Without ADDRESS, a local echo server is started in a process of its own. Without --rate, each
    connection waits for its replies: a closed loop, which shows the highest throughput. With
    --rate, messages are sent on a fixed schedule: an open loop, which shows how long users wait.

    Exit status 1 if there was an error, a limit of --fail-if was broken, a goal of --until was not
    reached, or no rate was found.
    """
    from epollo.bench.cli.bench_session import check_cluster, new_workload, run_bench, run_search
    from epollo.bench.output.files import Outputs
    from epollo.bench.results import thresholds

    if until:
        given["until"] = ",".join(until)
    wanted = {name: value for name, value in given.items() if value is not None}
    check_cluster(address, wanted, floor)
    files = {name: wanted.pop(name) for name in Outputs.__slots__ if name in wanted}
    if find_rate:
        _only_searching(fail_if, stop_if, different_load, metrics, floor, wanted)
        required = [thresholds.requirement(text) for text in find_rate]
        new_workload(address, wanted)
        if is_shown(ctx):
            return 0
        return run_search(address, wanted, Outputs(**files), required, quiet)
    limits = [thresholds.parse(text) for text in fail_if]
    stops = [thresholds.stopping(text) for text in stop_if]
    load, outputs = _load(wanted), Outputs(**files)
    new_workload(address, load)
    if is_shown(ctx):
        return 0
    return run_bench(address, load, outputs, limits, quiet, stops, different_load, metrics, floor)


def _load(given: dict[str, Any]) -> dict[str, Any]:
    """The fields of a Workload. Raises UsageError for flags that would have no effect."""
    if "messages" in given and "duration" not in given:
        given["duration"] = None
    if "until" in given and "/" not in given.get("rate", ""):  # else the rate is refused
        given.setdefault("duration", _MOST_UNTIL)
    _only_one(given, "size", "payload", "template")
    if "/" in given.get("rate", "") and given.get("duration") is not None:
        raise UsageError("--duration: --rate has a length for each step; leave one of them out")
    return given


def _only_searching(
    fail_if: tuple[str, ...],
    stop_if: tuple[str, ...],
    different_load: bool,
    metrics: str | None,
    floor: bool | None,
    given: dict[str, Any],
) -> None:
    """Raises UsageError for flags that have no effect in a search."""
    if fail_if:
        raise UsageError("--fail-if: not used with --find-rate; give all limits to that")
    if stop_if:
        raise UsageError("--stop-if: not used with --find-rate, which ends each run by itself")
    if different_load:
        raise UsageError("--different-load: not used with --find-rate, whose rates differ anyway")
    if metrics is not None:
        raise UsageError("--metrics: shows one run, and --find-rate has many; leave it out")
    if "until" in given:
        raise UsageError("--until: not used with --find-rate, which ends each run by itself")
    if floor:
        raise UsageError("--floor: not measured with --find-rate; leave it out")
    if "messages" in given:
        raise UsageError("--messages: --find-rate runs for --duration at each rate; leave it out")
    _only_one(given, "size", "payload", "template")


def _only_one(given: dict[str, Any], *names: str) -> None:
    found = [f"--{name}" for name in names if name in given]
    if len(found) > 1:
        raise UsageError(f"{' and '.join(found)}: give only one of them")
