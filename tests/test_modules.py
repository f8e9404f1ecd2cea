"""The import graph sees every kind of import."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.modules import Modules


@pytest.fixture
def modules(tmp_path: Path) -> Modules:
    files = {
        "a/__init__.py": "def late():\n    import a.b\n",
        "a/b.py": "if TYPE_CHECKING:\n    from a.native.c import C\n",
        "a/native/__init__.py": "",
        "a/native/c.pyx": "from a.native.d cimport (\n    D,\n    E,\n)\nimport socket\n",
        "a/native/d.pxd": "from a.native cimport e as other\ncimport a.plain\n",
        "a/native/d.pyx": "from a import b  # a comment\n",
        "a/native/e.pyx": "",
        "a/plain.py": "import os\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return Modules(tmp_path)


def test_imports_are_found_wherever_they_stand(modules: Modules) -> None:
    assert modules.imports == {
        "a": {"a.b"},
        "a.b": {"a.native.c"},
        "a.native": set(),
        "a.native.c": {"a.native.d"},
        "a.native.d": {"a.b", "a.native.e", "a.plain"},
        "a.native.e": set(),
        "a.plain": set(),
    }


def test_circles_are_found(modules: Modules) -> None:
    assert modules.circles() == [["a.b", "a.native.c", "a.native.d"]]


def test_modules_of_cython_are_told_from_those_of_python(modules: Modules) -> None:
    assert set(modules.cython()) == {"a.native.c", "a.native.d", "a.native.e"}
