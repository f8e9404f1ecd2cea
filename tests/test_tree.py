"""The tree in CONTRIBUTING.md names every file, or its folder, and nothing else, by layers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

from tests.documents import ROOT
from tests.layers import layer_of, level_of

PACKAGE = ROOT / "src" / "epollo"
SUFFIXES = (".py", ".pyx")

_LINE = re.compile(r"^    ( *)((?:[\w/]+(?:/|\.\w+)(?: +|$))+)")  # its depth, and its names


def test_every_name_exists() -> None:
    assert [str(path) for path in _named() if not path.exists()] == []


def test_every_module_is_named_by_itself_or_by_its_folder() -> None:
    named = set(_named())
    in_parts = {path.parent for path in named if path.is_file()}  # these folders name their files
    whole = {path for path in named if path.is_dir()} - in_parts
    sources = [path for path in (ROOT / "src").rglob("*") if path.suffix in SUFFIXES]
    assert [
        str(path)
        for path in sorted(sources)
        if path not in named
        and not (path.name == "__init__.py" and path.parent in named | in_parts)
        and not whole & set(_folders(path, in_parts))
    ] == []


def test_the_package_is_in_the_order_of_its_layers() -> None:
    modules = [_module(path) for path in _named() if path.is_relative_to(PACKAGE)]
    layered = [module for module in modules if layer_of(module)]
    assert len(layered) > 50
    assert [
        f"{above} above {below}"
        for above, below in pairwise(layered)
        if level_of(above) > level_of(below)
    ] == []


def _named() -> Iterator[Path]:
    """The files and folders that the tree names, in order."""
    folders: list[tuple[int, Path]] = [(-1, ROOT)]
    for line in _section().splitlines():
        match = _LINE.match(line)
        if match is None:
            continue
        depth = len(match[1])
        while folders[-1][0] >= depth:
            folders.pop()
        paths = [folders[-1][1] / name for name in match[2].split()]
        yield from paths
        if match[2].endswith("/") or paths[-1].is_dir():
            folders.append((depth, paths[-1]))


def _section() -> str:
    text = (ROOT / "CONTRIBUTING.md").read_text()
    return text.partition("\n## The tree\n")[2].partition("\n## ")[0]


def _folders(path: Path, in_parts: set[Path]) -> Iterator[Path]:
    """The folders that ``path`` is in, up to the first that names its files one by one."""
    for folder in path.parents:
        if folder in in_parts:
            return
        yield folder


def _module(path: Path) -> str:
    return ".".join(path.relative_to(ROOT / "src").with_suffix("").parts)
