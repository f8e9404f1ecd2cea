"""Print the route of each event; ``--json`` for programs, names of walks for some of them."""

from __future__ import annotations

import argparse
import json

from tests.walks.route import Route
from tests.walks.scenes import WALKS


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.walks", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print the numbers and routes as JSON")
    options = parser.parse_args()
    routes = {name: walk() for name, walk in WALKS.items()}
    if options.json:
        print(json.dumps({name: _as_json(route) for name, route in routes.items()}, indent=1))
    else:
        print("\n\n".join(_as_text(name, route) for name, route in routes.items()))


def _as_json(route: Route) -> dict[str, object]:
    return {
        "calls": len(route.calls),
        "files": route.files,
        "changes": route.changes,
        "route": [f"{call.file}: {call.function}" for call in route.calls],
    }


def _as_text(name: str, route: Route) -> str:
    counts = f"{len(route.calls)} calls, {route.files} files, {route.changes} changes of file"
    visits = [f"  {file}: {', '.join(functions)}" for file, functions in route.visits]
    return "\n".join([f"{name}: {counts}", *visits])


if __name__ == "__main__":
    main()
