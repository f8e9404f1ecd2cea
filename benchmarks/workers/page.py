"""The results, as Markdown for people and as JSON with every raw number."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from benchmarks import markdown
from benchmarks.report import provenance
from benchmarks.samples import Figure, figure
from benchmarks.workers.cases import CASES, Case, Plan, Values
from benchmarks.workers.servers import ONE, SLOTS, Variant

NAME = "workers"
FEWEST_ROUNDS = 5
SHORTEST_SECONDS = 1.0
MOST_WAITED = 0.05  # of the time, that a process may wait for a core that nothing of ours uses
WANTED = 1.9  # two workers to one, for a handler that costs 100 µs
SATURATED = 0.93  # of a core


@dataclass(frozen=True, slots=True)
class Found:
    """One measurement: the part, the case, the server, the round from 1 on, and what was seen."""

    part: str
    case: str
    server: str
    round: int
    values: Values


def write(
    folder: Path, machine: dict[str, str], command: str, plan: Plan, found: Sequence[Found]
) -> None:
    """Write both files into the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    document = {
        "machine": machine,
        "command": command,
        "plan": asdict(plan),
        "measurements": [asdict(each) for each in found],
    }
    (folder / f"{NAME}.json").write_text(json.dumps(document, indent=1) + "\n")
    (folder / f"{NAME}.md").write_text(page(machine, command, plan, found))


def page(machine: dict[str, str], command: str, plan: Plan, found: Sequence[Found]) -> str:
    """Return the page."""
    return f"""# Workers

Written by `{command}`.

{provenance(machine)}

{method(plan, found)}

{tables(found)}
"""


def method(plan: Plan, found: Sequence[Found]) -> str:
    """Return what the figures are, and a warning if the run is not to be quoted."""
    text = (
        f"A figure is the median of {plan.rounds} rounds, with the lowest and the highest in"
        " brackets; a ratio is taken within a round. Servers take turns in each round. CPU time is"
        " the kernel's (schedstat), of the supervisor and the workers together."
    )
    waited = outside(found)
    if waited > MOST_WAITED:
        text += (
            f" **Not to be quoted: other programs took the cores. A process that always runs waited"
            f" for its core for {100 * waited:.0f} % of the time.**"
        )
    if plan.rounds < FEWEST_ROUNDS or plan.seconds < SHORTEST_SECONDS:
        text += (
            f" **Not to be quoted: fewer than {FEWEST_ROUNDS} rounds of {SHORTEST_SECONDS:g} s.**"
        )
    return text


def outside(found: Sequence[Found]) -> float:
    """Return the part of the time for which other programs kept a process waiting."""
    values = [each.values["outside"] for each in found]
    return median(values) if values else 0.0


def tables(found: Sequence[Found]) -> str:
    """Return all tables."""
    return "\n\n".join(
        [spread_table(found), blocked_table(found), connections_table(found), messages(found)]
    )


def spread_table(found: Sequence[Found]) -> str:
    """Tabulate how evenly connections are spread."""
    [case] = cases("spread")
    rows = [
        [variant.name, markdown.ratio(of(found, case, variant, "busiest")),
         markdown.ratio(of(found, case, variant, "worst"))]
        for variant in case.variants
    ]  # fmt: skip
    text = (
        "100 connections are opened, one after the other. The busiest worker's connections over its"
        " fair share: the median of some repetitions in each round, and the worst of them."
    )
    table = markdown.table(["server", "busiest over fair share", "worst"], rows)
    return markdown.section("Spread", text, table)


def blocked_table(found: Sequence[Found]) -> str:
    """Tabulate the waits while one worker is blocked."""
    [case] = cases("blocked")
    rows = [
        [
            variant.name,
            percent(of(found, case, variant, "late")),
            *(markdown.whole(of(found, case, variant, f"{key}_ms")) for key in ("p50", "p90")),
            markdown.whole(of(found, case, variant, "most_ms")),
        ]
        for variant in case.variants
    ]
    text = (
        "The loop of one of two workers is blocked for three seconds, while 100 connections a"
        " second arrive. From the planned time of a connection to its first reply."
    )
    head = ["server", "over 100 ms", "p50, ms", "p90, ms", "longest, ms"]
    return markdown.section(
        "New connections while one worker is blocked", text, markdown.table(head, rows)
    )


def connections_table(found: Sequence[Found]) -> str:
    """Tabulate connections per second, and what each costs."""
    rows = []
    base = cases("connections")[0]
    for case in cases("connections"):
        for variant in case.variants:
            cost = over(found, (case, variant), (base, SLOTS), lambda values: values["cpu_us"])
            rows.append(
                [
                    f"{variant.name}, {case.name}",
                    markdown.whole(of(found, case, variant, "rate")),
                    precise(of(found, case, variant, "cpu_us")),
                    markdown.ratio(cost),
                    markdown.ratio(of(found, case, variant, "supervisor_cores"))
                    if variant.workers
                    else markdown.NONE,
                ]
            )
    text = (
        "100 under way at any time. Each is accepted, has one message of 64 B echoed, and is ended"
        " in order. With all on one core, the server has one core and the load the other: the"
        f" costs can be compared. The ratio is to {SLOTS.name}, {base.name}. With two cores, the"
        " server and the load share them."
    )
    head = ["server", "connections/s", "CPU each, µs", "ratio", "cores of the supervisor"]
    return markdown.section("Connections per second", text, markdown.table(head, rows))


def messages(found: Sequence[Found]) -> str:
    """Tabulate what the second worker brings."""
    rows = [scaling_row(case, found) for case in cases("messages")]
    text = (
        "Connections, messages outstanding on each, and size; the last row is (100; 1; 64 B) with a"
        " handler that takes 100 µs of CPU time. One worker has a core for itself, and the load has"
        " the other. Two workers share the two cores with the load, so they cannot have twice the"
        " CPU time. *Ready* is how many cores two workers used or waited for: 2 if both always had"
        " something to do. *Accounted* is the ratio with the load's share accounted for: the"
        " messages of each CPU second, times the cores that were used or waited for, of two workers"
        " to one. It says what a load from another machine would find, if ready is near 2; else the"
        " load, and not the workers, is the limit."
    )
    head = ["load", "1 worker, /s", "2 workers, /s", "ratio", "load's cores", "ready",
            "accounted", "CPU each, µs: 1", "2", "limit of 2"]  # fmt: skip
    return markdown.section("Two workers to one", text, markdown.table(head, rows), verdict(found))


def scaling_row(case: Case, found: Sequence[Found]) -> list[str]:
    """Return the row of a load."""
    one, two = (case, ONE), (case, SLOTS)
    return [
        case.name,
        markdown.whole(of(found, *one, "rate")),
        markdown.whole(of(found, *two, "rate")),
        markdown.ratio(over(found, two, one, lambda values: values["rate"])),
        markdown.ratio(of(found, *two, "load_cores")),
        markdown.ratio(ready(case, SLOTS, found)),
        markdown.ratio(accounted(case, found)),
        precise(of(found, *one, "cpu_us")),
        precise(of(found, *two, "cpu_us")),
        limit(case, found),
    ]


def accounted(case: Case, found: Sequence[Found]) -> Figure | None:
    """Return the ratio of two workers to one, had the load taken nothing of their cores."""
    return over(found, (case, SLOTS), (case, ONE), unhindered)


def unhindered(values: Values) -> float:
    """Return the messages per second, had the server never waited for a core."""
    return values["rate"] / values["serving_cores"] * values["serving_ready"]


def ready(
    case: Case, variant: Variant, found: Sequence[Found], side: str = "serving"
) -> Figure | None:
    """Return the cores that one side used or waited for."""
    return of(found, case, variant, f"{side}_ready")


def limit(case: Case, found: Sequence[Found]) -> str:
    """Return what keeps two workers from more."""
    load, server = ready(case, SLOTS, found, "load"), ready(case, SLOTS, found)
    taken = of(found, case, SLOTS, "load_cores")
    if load is None or server is None or taken is None:
        return markdown.NONE
    if server.median >= 2 * SATURATED:
        return f"the workers' CPU: the load takes {taken.median:.2f} of their two cores"
    if load.median >= SATURATED:
        return "the load generator, one thread"
    return "wake-ups: each side waits for messages of the other"


def verdict(found: Sequence[Found]) -> str:
    """Return the line about the target."""
    case = cases("messages")[-1]
    value = accounted(case, found)
    if value is None:
        return ""
    word = "met" if value.median >= WANTED else "not met"
    return f"Target: {case.name}, at least {WANTED:g} with the load accounted for: {word}."


def cases(part: str) -> list[Case]:
    """Return the cases of a part."""
    return [case for case in CASES if case.part == part]


def rounds(found: Sequence[Found], case: Case, variant: Variant) -> dict[int, Values]:
    """Return what was seen, by round."""
    key = (case.part, case.name, variant.name)
    return {each.round: each.values for each in found if (each.part, each.case, each.server) == key}


def of(found: Sequence[Found], case: Case, variant: Variant, key: str) -> Figure | None:
    """Return one value's median and spread."""
    return figure([values[key] for values in rounds(found, case, variant).values()])


def over(
    found: Sequence[Found],
    one: tuple[Case, Variant],
    base: tuple[Case, Variant],
    value: Callable[[Values], float],
) -> Figure | None:
    """Return a ratio, taken within each round."""
    ours, theirs = rounds(found, *one), rounds(found, *base)
    return figure([value(ours[n]) / value(theirs[n]) for n in ours if n in theirs])


def precise(value: Figure | None) -> str:
    """Format microseconds."""
    return markdown.spread(value, lambda number: f"{number:,.1f}")


def percent(value: Figure | None) -> str:
    """Format a part of the whole."""
    return markdown.spread(value, lambda number: f"{100 * number:.0f} %")
