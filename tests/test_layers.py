"""Imports run down only, and never in a circle. `lint-imports` checks the layers in pyproject.toml
for the Python modules; here are those of Cython, and what it cannot check."""

from __future__ import annotations

from collections.abc import Iterator

from tests.layers import FACADES, layer_of, layers, level_of
from tests.modules import Modules

MODULES = Modules()
COMMANDS = {"epollo_command", "pytest_epollo"}  # beside the package, above all of it


def test_no_modules_import_each_other() -> None:
    assert MODULES.circles() == []


def test_modules_of_cython_import_downwards() -> None:
    upwards = [
        f"{module} -> {imported}"
        for module, imports in MODULES.cython().items()
        for imported in sorted(imports - FACADES)
        if level_of(imported) < level_of(module)
    ]
    assert upwards == []


def test_every_module_has_alayer_of() -> None:
    assert [
        module for module in _in_package() if module not in FACADES and not layer_of(module)
    ] == []


def test_every_layer_has_a_module() -> None:
    found = {layer_of(module) for module in _in_package()}
    assert [name for names in layers() for name in names if name not in found] == []


def test_only_the_start_of_the_command_is_imported_from_above_the_package() -> None:
    above = {
        f"{module} -> {imported}"
        for module in _in_package()
        for imported in MODULES.imports[module] & COMMANDS
    }
    assert above <= {"epollo.__main__ -> epollo_command"}


def _in_package() -> Iterator[str]:
    return (module for module in MODULES.files if module not in COMMANDS)
