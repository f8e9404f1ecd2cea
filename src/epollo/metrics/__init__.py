"""Metrics for Prometheus over HTTP, on any loop of the engine.

`pages` are what is told, `scrape` is one request for one of them, without I/O; `listener` serves
them on a loop, and `thread` on a loop of its own. `server_pages` are those of a running server:
`families` are its metrics, made of `figures`, and `watched` is what they need to know.

The packages prometheus_client and h11 are optional: modules here import them, and this one does
not.
"""
