"""Figures for Prometheus over HTTP, on any loop of the engine.

`scrape` is one HTTP scrape, without I/O; `listener` serves them on a loop, and `thread` on a
loop of its own. The figures are those of a registry of prometheus_client. That package and h11 are
optional: they are imported by the modules here and not by this one.
"""
