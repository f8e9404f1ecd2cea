"""The load tester: a client of the same engine that verifies and times every reply.

result = epollo.bench.run(epollo.bench.Workload(address="127.0.0.1:8091", rate=5000, duration=5))
print(result.rate, result.response.percentile(99) / 1e6, "ms")
"""

from __future__ import annotations

import epollo.bench.run  # noqa: F401 (now, since a later import would replace the function `run`)

TYPE_CHECKING = False  # as `typing` has it
if TYPE_CHECKING:
    from epollo.bench.results.result import Result
    from epollo.bench.results.second import Second
    from epollo.bench.run.driver import Driver
    from epollo.bench.search import Search, find_rate
    from epollo.bench.workload import Workload

__all__ = ["Driver", "Result", "Search", "Second", "Workload", "find_rate", "run"]

_MODULE_OF = {
    "Driver": "epollo.bench.run.driver",
    "Result": "epollo.bench.results.result",
    "Search": "epollo.bench.search",
    "Second": "epollo.bench.results.second",
    "Workload": "epollo.bench.workload",
    "find_rate": "epollo.bench.search",
}


def run(workload: Workload) -> Result:
    """Run ``workload`` to its end. Raises SettingError and ConnectError; EpolloError if one of
    several ``processes`` died."""
    from epollo.bench.runs import new_run

    return new_run(workload).run()


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        """Import a public name on first use (PEP 562)."""
        from importlib import import_module

        if name not in _MODULE_OF:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return globals().setdefault(name, getattr(import_module(_MODULE_OF[name]), name))
