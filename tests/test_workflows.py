"""The workflows for a forge, which nobody can run here: what they name exists."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.documents import ROOT

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
VERSION = re.compile(r"Programming Language :: Python :: (3\.\d+)")


def jobs(path: Path) -> dict[str, dict[str, Any]]:
    return dict(yaml.safe_load(path.read_text())["jobs"])


def steps(path: Path) -> list[dict[str, Any]]:
    return [step for job in jobs(path).values() for step in job["steps"]]


def supported() -> set[str]:
    """The versions of Python in the classifiers."""
    found = map(VERSION.fullmatch, PROJECT["project"]["classifiers"])
    return {match[1] for match in found if match}


def test_there_are_workflows() -> None:
    assert {path.stem for path in WORKFLOWS} == {"docs", "sanitizers", "tests", "wheels"}


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_what_a_step_runs_exists(path: Path) -> None:
    makefile = (ROOT / "Makefile").read_text()
    for step in steps(path):
        if command := step.get("run"):
            word, *rest = command.split()
            if word == "make":
                assert f"\n{rest[0]}:" in makefile, command
            else:
                assert (ROOT / word).is_file(), command


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_job_ends_and_may_do_little(path: Path) -> None:
    workflow = yaml.safe_load(path.read_text())
    assert workflow["permissions"] == {"contents": "read"}
    for name, job in jobs(path).items():
        assert "timeout-minutes" in job or "environment" in job, name


def test_every_supported_python_is_tested_and_has_a_wheel() -> None:
    tested = set(
        jobs(ROOT / ".github/workflows/tests.yml")["versions"]["strategy"]["matrix"]["python"]
    )
    built = re.findall(r"cp3(\d+)-\*", PROJECT["tool"]["cibuildwheel"]["build"])
    assert supported() <= tested
    assert tested == {f"3.{minor}" for minor in built}
    for version in supported():
        assert f'"{version}"' in (ROOT / "noxfile.py").read_text()


def test_the_hooks_download_nothing() -> None:
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    assert [each["repo"] for each in hooks["repos"]] == ["local"]
    for hook in hooks["repos"][0]["hooks"]:
        assert hook["language"] == "system", hook
