"""Every public name says what it is: `__all__` of epollo and of its public modules."""

from __future__ import annotations

import ast
import importlib
import inspect
import itertools
import pkgutil
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import epollo


def _modules() -> Iterator[ModuleType]:
    yield epollo
    for info in pkgutil.walk_packages(epollo.__path__, "epollo."):
        if info.name == "epollo.__main__":  # which is a command
            continue
        try:
            module = importlib.import_module(info.name)
        except ModuleNotFoundError as error:
            if error.name != "distributed":  # which is large, and installed for `make check` alone
                raise
            continue
        yield module


PUBLIC = [
    (f"{module.__name__}.{name}", getattr(module, name))
    for module in _modules()
    for name in getattr(module, "__all__", ())
]


@pytest.mark.parametrize(("path", "thing"), PUBLIC, ids=[path for path, _ in PUBLIC])
def test_a_public_name_says_what_it_is(path: str, thing: Any) -> None:
    if inspect.isclass(thing):
        assert _own_docstring(thing), path
    elif inspect.ismodule(thing) or inspect.isroutine(thing):
        assert thing.__doc__, path
    else:
        assert path.rpartition(".")[2] in _documented_data(), path


@pytest.mark.parametrize(("path", "thing"), PUBLIC, ids=[path for path, _ in PUBLIC])
def test_its_methods_and_properties_say_what_they_do(path: str, thing: Any) -> None:
    assert [name for name in _members(thing) if not inspect.getdoc(getattr(thing, name))] == []


def _own_docstring(thing: type) -> str | None:
    """Not that of a base, nor the signature that dataclass puts there."""
    text = thing.__dict__.get("__doc__")
    return None if text and text.startswith(f"{thing.__name__}(") else text


def _members(thing: Any) -> list[str]:
    """The public methods and properties that a class of epollo adds or changes."""
    if not inspect.isclass(thing) or not thing.__module__.startswith("epollo"):
        return []
    return [
        name
        for name, value in vars(thing).items()
        if not name.startswith("_")
        and (inspect.isroutine(value) or isinstance(value, property | classmethod))
    ]


@cache
def _documented_data() -> frozenset[str]:
    """Names assigned in a module of epollo with a string behind them that says what they are."""
    names: set[str] = set()
    for path in Path(epollo.__path__[0]).rglob("*.py"):
        body = ast.parse(path.read_text()).body
        for statement, behind in itertools.pairwise(body):
            if isinstance(behind, ast.Expr) and isinstance(behind.value, ast.Constant):
                names |= set(_assigned(statement))
    return frozenset(names)


def _assigned(statement: ast.stmt) -> Iterator[str]:
    if isinstance(statement, ast.AnnAssign):
        targets: list[ast.expr] = [statement.target]
    else:
        targets = statement.targets if isinstance(statement, ast.Assign) else []
    yield from (target.id for target in targets if isinstance(target, ast.Name))
