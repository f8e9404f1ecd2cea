"""The modules of epollo and what each imports: Python and Cython, imports for types included."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeAlias

from tests.documents import ROOT

Graph: TypeAlias = dict[str, set[str]]
"""The modules, each with those that it imports."""

SOURCES = ROOT / "src"

_CYTHON = re.compile(
    r"^[ \t]*from[ ]+([\w.]+)[ ]+c?import[ ]+(\([^)]*\)|[^\n#]*)|^[ \t]*c?import[ ]+([^\n#]*)",
    re.MULTILINE,
)


@dataclass(frozen=True)
class Modules:
    """Those below ``root``. What a module of Cython declares and how it is typed is part of it."""

    root: Path = SOURCES

    @cached_property
    def files(self) -> dict[str, list[Path]]:
        """The files of each module: .py, or .pyx, .pxd and .pyi."""
        found: dict[str, list[Path]] = defaultdict(list)
        for path in sorted(self.root.rglob("*.p*")):
            if path.suffix in (".py", ".pyi", ".pyx", ".pxd"):
                found[self._name(path)].append(path)
        return dict(found)

    @cached_property
    def imports(self) -> Graph:
        """Wherever the import stands: at the top, in a function, or for type checkers only."""
        return {
            module: {found for path in paths for found in self._imported(path)} - {module}
            for module, paths in self.files.items()
        }

    def cython(self) -> Graph:
        """The modules of Cython only, which tools for Python do not see."""
        return {
            module: self.imports[module]
            for module, paths in self.files.items()
            if any(path.suffix in (".pyx", ".pxd") for path in paths)
        }

    def circles(self) -> list[list[str]]:
        """The groups of modules of which each imports every other one, directly or not."""
        reached = {module: _reached(self.imports, module) for module in self.imports}
        groups = {
            tuple(sorted(other for other in reached[module] if module in reached[other]))
            for module in self.imports
            if module in reached[module]
        }
        return [list(group) for group in sorted(groups)]

    def _name(self, path: Path) -> str:
        parts = path.relative_to(self.root).with_suffix("").parts
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

    def _imported(self, path: Path) -> Iterator[str]:
        text = path.read_text()
        found = _in_python(text) if path.suffix in (".py", ".pyi") else _in_cython(text)
        for module, name in found:
            if f"{module}.{name}" in self.files:
                yield f"{module}.{name}"
            elif module in self.files:
                yield module


def _in_python(text: str) -> Iterator[tuple[str, str]]:
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.module is not None, "relative imports are not understood"
            yield from ((node.module, alias.name) for alias in node.names)


def _in_cython(text: str) -> Iterator[tuple[str, str]]:
    for match in _CYTHON.finditer(text):
        module, names, plain = match.groups()
        for name in (names or plain).strip("()").split(","):
            word = name.split()[0] if name.split() else ""
            yield (module, word) if module else (word, "")


def _reached(graph: Graph, start: str) -> set[str]:
    reached: set[str] = set()
    waiting = list(graph[start])
    while waiting:
        module = waiting.pop()
        if module not in reached:
            reached.add(module)
            waiting += graph[module]
    return reached
