"""Python's cyclic garbage collector, in a process that is only there to serve.

A full collection visits every object that lives, and stops the loop meanwhile: for 100 ms if an
application has loaded some hundred thousand objects (`python -m benchmarks.collector`).
"""

from __future__ import annotations

import gc


def leave_out_what_is_loaded() -> None:
    """Free the garbage that loading made; from here on visit only objects that are made later."""
    gc.collect()
    gc.freeze()
