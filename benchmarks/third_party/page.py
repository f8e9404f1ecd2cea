"""The results, as Markdown for people and as JSON with every raw number."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from benchmarks import markdown
from benchmarks.load import Window
from benchmarks.report import provenance
from benchmarks.samples import Figure, figure
from benchmarks.third_party.cases import CASES, EPOLLO, Case
from benchmarks.third_party.testers import Values

NAME = "third_party"
FEWEST_ROUNDS = 5
SHORTEST_SECONDS = 1.0
MOST_WAITED = 0.02  # of the time, that a server may wait for its core
RATIOS = ("p50_us", "p99_us")


@dataclass(frozen=True, slots=True)
class Found:
    """One measurement: the case, the tester, the round from 1 on, and what it saw."""

    case: str
    server: str
    tester: str
    round: int
    values: Values


def write(
    folder: Path, machine: dict[str, str], command: str, window: Window, found: Sequence[Found]
) -> None:
    """Write both files into the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    document = {
        "machine": machine,
        "command": command,
        "seconds": window.seconds,
        "warmup": window.warmup,
        "measurements": [asdict(each) for each in found],
    }
    (folder / f"{NAME}.json").write_text(json.dumps(document, indent=1) + "\n")
    (folder / f"{NAME}.md").write_text(page(machine, command, window, found))


def page(machine: dict[str, str], command: str, window: Window, found: Sequence[Found]) -> str:
    """Return the page."""
    return f"""# epollo bench beside sockperf and redis-benchmark

Written by `{command}`.

{provenance(machine)}

{method(window, found)}

{tables(found)}

{WHY}
"""


def method(window: Window, found: Sequence[Found]) -> str:
    """Return what the figures are, and a warning if the run was too short to be quoted."""
    rounds = max(each.round for each in found)
    text = (
        "In each round the two testers load the same server process one after the other, and take"
        f" turns to be the first. A figure is the median of the rounds, {rounds} of"
        f" {window.seconds:g} s, with the lowest and the highest in brackets; a ratio is taken"
        " within a round. The server has one core, the tester another."
    )
    waited = median(each.values["waited"] for each in found)
    if waited > MOST_WAITED:
        text += (
            f" **Not to be quoted: other work took the cores. The servers waited for theirs for"
            f" {100 * waited:.0f} % of the time.**"
        )
    if rounds < FEWEST_ROUNDS or window.seconds < SHORTEST_SECONDS:
        text += (
            f" **Not to be quoted: fewer than {FEWEST_ROUNDS} rounds of {SHORTEST_SECONDS:g} s.**"
        )
    return text


def tables(found: Sequence[Found]) -> str:
    """Return a table for each of the other testers."""
    names = dict.fromkeys(case.other for case in CASES)
    return "\n\n".join(
        markdown.section(
            name,
            markdown.table(
                ["load", "tester", "messages/s", "p50, µs", "p99, µs"],
                [row for case in CASES if case.other == name for row in rows(case, found)],
            ),
        )
        for name in names
    )


def rows(case: Case, found: Sequence[Found]) -> list[list[str]]:
    """Return the rows of a case: the two testers, and the ratio of the percentiles."""
    measured = {name: rounds(case, name, found) for name, _ in case.pair}
    result = []
    for name, values in measured.items():
        figures = [markdown.whole(of(values, "rate"))]
        figures += [precise(of(values, key)) for key in RATIOS]
        result.append([case.name, name, *figures])
    if any("due_p50_us" in each for each in measured[EPOLLO].values()) and "open" in case.name:
        due = [precise(of(measured[EPOLLO], f"due_{key}")) for key in RATIOS]
        result.append([case.name, f"{EPOLLO}, from the due time", "", *due])
    result.append([case.name, f"{EPOLLO} to {case.other}", "", *ratios(case, measured)])
    return result


def ratios(case: Case, measured: dict[str, dict[int, Values]]) -> list[str]:
    """Return our percentiles to theirs, within each round."""
    ours, theirs = measured[EPOLLO], measured[case.other]
    return [
        markdown.ratio(figure([ours[n][key] / theirs[n][key] for n in ours if n in theirs]))
        for key in RATIOS
    ]


def rounds(case: Case, tester: str, found: Sequence[Found]) -> dict[int, Values]:
    """Return what a tester saw, by round."""
    key = (case.name, case.other, tester)
    return {f.round: f.values for f in found if (f.case, f.server, f.tester) == key}


def of(values: dict[int, Values], key: str) -> Figure | None:
    """Return one value's median and spread."""
    return figure([each[key] for each in values.values()])


def precise(value: Figure | None) -> str:
    """Format microseconds."""
    return markdown.spread(value, lambda number: f"{number:,.1f}")


WHY = """## What explains the differences

Times run from the send of a message to its reply, as both others measure them. That of
`epollo bench` is its *service* time; in a closed loop it is the response time too.

- **redis-benchmark is a closed loop**: a connection sends after it has its replies. If the server
  pauses, hardly any message sees it (coordinated omission), so its p99 is not what clients see that
  do not wait for each other. `epollo bench` runs a closed loop here too, with the same number of
  connections and the same depth, so that both figures are of the same kind.
- **redis-benchmark's percentiles are the upper ends of steps of 8 µs** up to 16 ms: its histogram
  has a lowest value of 10 µs, which HdrHistogram rounds down to a unit of 8 µs. A true 25 µs is
  reported as 31 µs. On one connection, with a round trip of tens of microseconds, this alone is up
  to a quarter. The histogram of `epollo bench` has a unit of 1 ns and three significant digits.
- **redis-benchmark times a pipeline once**: all sixteen messages of a batch get the time from the
  write of the batch until its first reply can be read, and the next batch waits for the last reply.
  With `--depth 16`, `epollo bench` times each message by itself, and sends the next one when its
  reply has come, so sixteen are always outstanding. Its times include the wait behind the other
  fifteen, and are longer at the same rate.
- **At 50 connections both measure their own loop too**: a reply waits in the kernel until the
  tester has handled the replies before it. The rate decides this time: by Little's law, 50
  messages outstanding at 100,000 messages a second take 500 µs on average. The tester that needs
  less time for a message sees a higher rate and a shorter time. So compare p50 with the rate.
- **redis-benchmark has no warm-up**: its first messages are in its figures. `epollo bench` leaves
  its warm-up out; sockperf leaves out 0.45 s at the start and the end.
- **sockperf's closed loop is one blocking thread**: send, then recv. `epollo bench` is an event
  loop: each message also costs it an epoll_wait. On one connection this is a few microseconds.
- **sockperf's open loop spins**: its sender reads the clock in a loop until the next message is
  due, on the core that its receiving thread needs too. A reply may have to wait for that core. On
  the other hand the core never sleeps, so there is no wake-up to wait for. `epollo bench` sleeps
  until the next message is due.
- **sockperf times from the actual send**. If its sender is late, none of its figures shows it. The
  row "from the due time" has the lateness of `epollo bench` in it.
"""
