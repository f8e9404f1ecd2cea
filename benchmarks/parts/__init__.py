"""The parts of a run: each measures in turns, and reports in tables of its own."""

from benchmarks.parts import (
    beside,
    churn,
    forms,
    idle,
    limits,
    open_loop,
    sweeps,
    table,
    tester,
    tls,
    waiting,
)

PARTS = {
    part.name: part
    for part in (
        table.PART,
        forms.PART,
        waiting.PART,
        limits.PART,
        open_loop.PART,
        idle.PART,
        tls.PART,
        beside.PART,
        churn.PART,
        tester.PART,
        sweeps.PART,
    )
}
