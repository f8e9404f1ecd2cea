"""The tester as a process of its own, which can be stopped.

    python -m tests.bench.truth.tester WORKLOAD       # the JSON of its settings

Prints the JSON of its result.
"""

from __future__ import annotations

import json
import sys

from epollo.bench import Workload, run
from tests.bench.truth.cores import leaving_the_servers_core


def main(load: str) -> None:
    """The program."""
    with leaving_the_servers_core():
        print(run(Workload(**json.loads(load))).to_json())


if __name__ == "__main__":
    main(*sys.argv[1:])
