"""Which samples count: a server or a load that had to wait for its core measures the machine.

A sample counts if both waited for less than 5 % of the time. If none of some attempts does, the
quietest counts up to 12 %, and is marked where it is shown; beyond that it is refused.
"""

from collections.abc import Callable, Mapping, Sequence

from benchmarks.errors import NoReply

QUIET = 0.05
TOLERATED = 0.12
ATTEMPTS = 4
MARK = "~"  # before a figure with samples between the two

SERVER_WAITED, LOAD_WAITED = "server_waited", "load_waited"


def waited(values: Mapping[str, float]) -> float:
    """Return the part of the time for which the server or the load, whichever more, had no core;
    0 for what is measured without a load."""
    return max(values.get(SERVER_WAITED, 0.0), values.get(LOAD_WAITED, 0.0))


def quietest(measure: Callable[[], dict[str, float]], attempts: int = ATTEMPTS) -> dict[str, float]:
    """Measure until a sample counts, up to so many times; return the quietest.

    Raises:
        NoReply: in one of them nothing came back, however often it was tried.
    """
    best = persist(measure)
    for _ in range(attempts - 1):
        if waited(best) <= QUIET:
            break
        best = min(best, persist(measure), key=waited)
    return best


def persist(measure: Callable[[], dict[str, float]]) -> dict[str, float]:
    """Measure again where nothing came back in a short window."""
    for _ in range(ATTEMPTS - 1):
        try:
            return measure()
        except NoReply as error:
            print(f"once more: {error}", flush=True)
    return measure()


def summary(samples: Sequence[Mapping[str, float]]) -> str:
    """Return how many samples counted, given the values of each."""
    loaded = [waited(values) for values in samples if SERVER_WAITED in values]
    refused = sum(each > TOLERATED for each in loaded)
    marked = sum(QUIET < each <= TOLERATED for each in loaded)
    text = (
        f"{len(loaded)} samples were measured under a load. In {len(loaded) - refused - marked} the"
        f" server and the load each waited for a core for at most {QUIET:.0%} of the time"
    )
    if marked:
        text += f"; in {marked} one waited up to {TOLERATED:.0%}, which is marked {MARK}"
    if refused:
        text += f"; **{refused} had to wait longer and do not count: the machine was busy**"
    return f"{text}."
