"""Imports run down only, and never in a circle. `lint-imports` checks the layers in pyproject.toml
for the Python modules; here are those of Cython, and what it cannot check."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from functools import cache

from tests.documents import ROOT
from tests.modules import Modules

MODULES = Modules()
FACADES = {"epollo", "epollo.bench", "epollo.cli"}  # packages that only re-export, or are empty
COMMANDS = {"epollo_command", "pytest_epollo"}  # beside the package, above all of it


def test_no_modules_import_each_other() -> None:
    assert MODULES.circles() == []


def test_modules_of_cython_import_downwards() -> None:
    upwards = [
        f"{module} -> {imported}"
        for module, imports in MODULES.cython().items()
        for imported in sorted(imports - FACADES)
        if _level(imported) < _level(module)
    ]
    assert upwards == []


def test_every_module_has_a_layer() -> None:
    assert [
        module for module in _in_package() if module not in FACADES and not _layer(module)
    ] == []


def test_every_layer_has_a_module() -> None:
    found = {_layer(module) for module in _in_package()}
    assert [name for names in _layers() for name in names if name not in found] == []


def test_only_the_start_of_the_command_is_imported_from_above_the_package() -> None:
    above = {
        f"{module} -> {imported}"
        for module in _in_package()
        for imported in MODULES.imports[module] & COMMANDS
    }
    assert above <= {"epollo.__main__ -> epollo_command"}


def _in_package() -> Iterator[str]:
    return (module for module in MODULES.files if module not in COMMANDS)


@cache
def _layers() -> list[list[str]]:
    """Those of pyproject.toml, the highest one first."""
    tool = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]
    (contract,) = tool["importlinter"]["contracts"]
    return [layer.split(" | ") for layer in contract["layers"]]


def _layer(module: str) -> str:
    """The name in the list of layers that ``module`` is part of; empty if there is no such one."""
    names = (name for names in _layers() for name in names)
    return next((name for name in names if f"{module}.".startswith(f"{name}.")), "")


def _level(module: str) -> int:
    return next(level for level, names in enumerate(_layers()) if _layer(module) in names)
