"""The layers in pyproject.toml, and the layer of a module."""

from __future__ import annotations

import tomllib
from functools import cache

from tests.documents import ROOT

FACADES = {"epollo", "epollo.bench", "epollo.cli"}  # packages that only re-export, or are empty


@cache
def layers() -> list[list[str]]:
    """The names in each layer, the highest one first."""
    tool = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]
    (contract,) = tool["importlinter"]["contracts"]
    return [layer.split(" | ") for layer in contract["layers"]]


def layer_of(module: str) -> str:
    """The name in the list of layers that ``module`` is part of; empty if there is no such one."""
    names = (name for names in layers() for name in names)
    return next((name for name in names if f"{module}.".startswith(f"{name}.")), "")


def level_of(module: str) -> int:
    """How many layers are above ``module``."""
    return next(level for level, names in enumerate(layers()) if layer_of(module) in names)
