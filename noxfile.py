"""The tests on every version of Python that epollo supports: `make versions`."""

from __future__ import annotations

import os
from pathlib import Path

import nox

VERSIONS = ["3.11", "3.12", "3.13"]

# What pyenv has built is found even if no version of it is activated.
_pyenv = Path(os.environ.get("PYENV_ROOT", "~/.pyenv")).expanduser() / "versions"
_found = [str(folder) for folder in sorted(_pyenv.glob("3.*/bin"), reverse=True)]
os.environ["PATH"] = os.pathsep.join([*_found, os.environ["PATH"]])

nox.options.error_on_missing_interpreters = True
nox.options.reuse_existing_virtualenvs = True


@nox.session(python=VERSIONS)
def tests(session: nox.Session) -> None:
    """Build the native engine, without which this fails, and run all tests."""
    native = {"EPOLLO_NATIVE": "require"}
    groups = nox.project.load_toml("pyproject.toml")
    session.install("--editable", ".", env=native)
    session.install(*nox.project.dependency_groups(groups, "test"))
    workers = str(1 + len(os.sched_getaffinity(0)))
    options = ["--numprocesses", workers, "--dist", "worksteal", *session.posargs]
    session.run("python", "-m", "pytest", *options, env=native)
