"""One agent's share of a load, and its JSON form, which `schema.json` describes."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib import import_module
from typing import Any, Self

from epollo.bench.load.shards import Shard
from epollo.bench.results.reading import number, text, typed_errors
from epollo.bench.results.result import workload_of
from epollo.bench.workload import Workload


@dataclass(frozen=True, slots=True)
class Assignment:
    """What one agent runs.

    Attributes:
        run: names the run: a share is known by it and by its index, and is run once.
        shard: which connections and messages are its own.
        workload: the whole load.
        figures: the agent tells its counts once a second.
        version: of the epollo that made it; an agent of another one refuses it.
    """

    run: str
    shard: Shard
    workload: Workload
    figures: bool
    version: str

    @property
    def seed(self) -> int:
        """The seed of its own random arrivals."""
        return self.shard.number(self.workload.seed)

    def to_json(self) -> str:
        """On one line."""
        return json.dumps(
            {
                "run": self.run,
                "index": self.shard.index,
                "of": self.shard.of,
                "figures": self.figures,
                "version": self.version,
                "workload": asdict(self.workload),
            }
        )

    @classmethod
    def of_json(cls, line: str) -> Self:
        """The reverse of ``to_json``. Raises ResultFileError."""
        with typed_errors():
            document: dict[str, Any] = json.loads(line)
            shard = Shard(int(number(document["index"])), int(number(document["of"])))
            return cls(
                run=text(document["run"]),
                shard=shard,
                workload=workload_of(document["workload"]),
                figures=bool(document["figures"]),
                version=text(document["version"]),
            )


def version_here() -> str:
    """The version of this epollo."""
    return str(import_module("epollo").__version__)


def assignments(workload: Workload, of: int, figures: bool) -> Iterator[Assignment]:
    """The shares of a new run of ``workload`` on ``of`` agents."""
    run = uuid.uuid4().hex
    for index in range(of):
        yield Assignment(run, Shard(index, of), workload, figures, version_here())
