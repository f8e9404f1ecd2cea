"""The parts of a run: each measures in turns, and reports in tables of its own."""

from benchmarks.parts import beside, churn, idle, open_loop, sweeps, table, waiting

PARTS = {
    part.name: part
    for part in (
        table.PART,
        waiting.PART,
        open_loop.PART,
        idle.PART,
        beside.PART,
        churn.PART,
        sweeps.PART,
    )
}
