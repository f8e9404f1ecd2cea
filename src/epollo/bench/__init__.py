"""The load tester: a client of the same engine that verifies and times every reply.

result = epollo.bench.run(epollo.bench.Workload(address="127.0.0.1:8091", rate=5000, duration=5))
print(result.rate, result.response.percentile(99) / 1e6, "ms")
"""

from epollo.bench.processes.running import new_run
from epollo.bench.results.result import Result, Second
from epollo.bench.run.driver import Driver
from epollo.bench.search import Search, find_rate
from epollo.bench.workload import Workload

__all__ = ["Driver", "Result", "Search", "Second", "Workload", "find_rate", "run"]


def run(workload: Workload) -> Result:
    """Run ``workload`` to its end. Raises SettingError and ConnectError; EpolloError if one of
    several ``processes`` died."""
    return new_run(workload).run()
