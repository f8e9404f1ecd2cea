"""An example as a reader starts it: by python, or by epollo serve."""

from __future__ import annotations

from contextlib import AbstractContextManager

import pytest

from tests.documents import ROOT
from tests.support import ServerProcess, python, serving

FREE_PORT = "127.0.0.1:0"


def example(name: str, *arguments: str) -> AbstractContextManager[ServerProcess]:
    """``python examples/NAME.py ADDRESS ...`` on a free port."""
    return python(f"examples/{name}.py", FREE_PORT, *arguments, cwd=ROOT)


def both_ways(name: str, attribute: str, *flags: str) -> pytest.MarkDecorator:
    """Runs a test with ``server``, the example, started by python and by epollo serve."""
    ways = {
        "python": lambda: example(name),
        "epollo-serve": lambda: serving(f"examples.{name}:{attribute}", *flags, cwd=ROOT),
    }
    return pytest.mark.parametrize("server", ways.values(), ids=ways, indirect=True)
