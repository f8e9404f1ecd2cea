"""The documentation is true: its Python runs, and what it names exists."""

from __future__ import annotations

import ast
import subprocess
import sys
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from epollo.settings import Settings, settings_from
from tests.documents import ROOT, Document, check_commands, check_links

PAGES = [Document(path) for path in sorted((ROOT / "docs").rglob("*.md"))]
OTHERS = [
    Document(ROOT / name)
    for name in (
        "README.md",
        "README.zh.md",
        "CONTRIBUTING.md",
        "CHANGELOG.md",
        "SECURITY.md",
        "benchmarks/README.md",
        "examples/README.md",
        "fuzz/README.md",
    )
]
DEADLINE = 60.0  # seconds, for all the blocks of a page

every_page = pytest.mark.parametrize("page", PAGES, ids=str)
every_document = pytest.mark.parametrize("page", PAGES + OTHERS, ids=str)


@every_page
def test_the_blocks_of_a_page_run_in_order(page: Document, tmp_path: Path) -> None:
    _write_files(page, tmp_path)
    (tmp_path / "page.py").write_text(page.module)  # a traceback's lines are those of the page
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", "import page"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )
    assert run.returncode == 0, f"{page}:\n{run.stderr}"
    assert "Exception ignored" not in run.stderr  # a socket, a loop or a task left behind


@pytest.mark.parametrize("page", [page for page in PAGES if "tutorials" in str(page)], ids=str)
def test_each_file_of_a_tutorial_runs_by_itself(page: Document, tmp_path: Path) -> None:
    _write_files(page, tmp_path)
    for name in page.files:
        subprocess.run([sys.executable, name], cwd=tmp_path, check=True, timeout=DEADLINE)


@every_document
def test_every_command_and_flag_named_exists(page: Document) -> None:
    check_commands(page)


@every_document
def test_every_link_leads_somewhere(page: Document) -> None:
    check_links(page)


@every_document
def test_every_setting_in_a_table_has_its_default(page: Document) -> None:
    settings = _settings(page)
    assert bool(settings) == ("| setting |" in page.text)
    for name, default in settings.items():
        values: Any = {name: default}
        assert settings_from(**values) == Settings(), f"{name}, in {page}"


def test_the_page_of_settings_has_every_one() -> None:
    page = Document(ROOT / "docs" / "settings.md")
    assert sorted(_settings(page)) == sorted(setting.name for setting in fields(Settings))


def test_the_index_leads_to_every_page() -> None:
    index = Document(ROOT / "docs" / "README.md")
    linked = {target.resolve() for target, _ in index.links}
    assert [str(page) for page in PAGES if page.path not in linked | {index.path}] == []


def test_every_feature_names_tests_that_exist() -> None:
    rows = Document(ROOT / "docs" / "features.md").rows("feature", "epollo", "proved by")
    assert rows
    for feature, _, proofs in rows:
        names = proofs.replace("`", "").split(", ")
        assert names
        for name in names:
            file, _, function = name.partition("::")
            assert function in _tests_of(ROOT / "tests" / file), f"{name}, of: {feature}"


def _write_files(page: Document, folder: Path) -> None:
    """What a reader has who copies each program of ``page`` into the file that it names."""
    for name, code in page.files.items():
        (folder / name).write_text(code)


def _settings(page: Document) -> dict[str, str]:
    """The defaults in the tables of ``page``, by the names that the API has."""
    rows = page.rows("setting", "default")
    return {row[0].strip("`").removeprefix("--").replace("-", "_"): row[1] for row in rows}


@cache
def _tests_of(path: Path) -> set[str]:
    tree = ast.parse(path.read_text())
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
