"""What is done on every version of Python that epollo supports: its tests, `make versions`, and its
wheels, `make wheels`."""

from __future__ import annotations

import os
import tarfile
from pathlib import Path

import nox

VERSIONS = ["3.11", "3.12", "3.13"]

# What pyenv has built is found even if no version of it is activated.
_pyenv = Path(os.environ.get("PYENV_ROOT", "~/.pyenv")).expanduser() / "versions"
_found = [str(folder) for folder in sorted(_pyenv.glob("3.*/bin"), reverse=True)]
os.environ["PATH"] = os.pathsep.join([*_found, os.environ["PATH"]])

nox.options.sessions = ["tests"]
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


@nox.session
def sdist(session: nox.Session) -> None:
    """Build dist/epollo-VERSION.tar.gz, and unpack it in build/sdist, for the wheels."""
    _install_group(session, "release")
    session.run("python", "-m", "build", "--sdist", "--outdir", "dist", silent=True)
    (archive,) = Path("dist").glob("*.tar.gz")
    with tarfile.open(archive) as unpacked:
        unpacked.extraction_filter = getattr(tarfile, "data_filter", None)  # since 3.11.4
        unpacked.extractall("build/sdist")  # noqa: S202 - made here
    (tree,) = Path("build/sdist").iterdir()
    for folder in ("src", "tests", "docs", "examples"):
        if not (tree / folder).is_dir():
            session.error(f"{archive} has no {folder}")
    if built := [*tree.rglob("*.so"), *tree.rglob("*.pyc")]:
        session.error(f"{archive} has what was built: {built[0]}")
    session.run("twine", "check", "--strict", str(archive), silent=True)


@nox.session(python=VERSIONS)
def wheels(session: nox.Session) -> None:
    """Build a wheel from the sdist, with the platform that it runs on in its name, and try it in a
    bare environment, in which PATH has no compiler."""
    _install_group(session, "release")
    (tree,) = Path("build/sdist").iterdir()
    tmp = Path(session.create_tmp()).resolve()
    native = {"EPOLLO_NATIVE": "require"}
    build = ("pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(tmp / "raw"), str(tree))
    session.run(*build, env=native)
    (raw,) = (tmp / "raw").glob("*.whl")
    session.run("auditwheel", "repair", "--wheel-dir", str(tmp / "repaired"), str(raw), silent=True)
    (repaired,) = (tmp / "repaired").glob("*.whl")
    session.run("twine", "check", "--strict", str(repaired), silent=True)
    session.run("python", "-m", "venv", "--clear", str(tmp / "bare"))
    bare = str(tmp / "bare" / "bin" / "python")
    empty = {"PATH": str(tmp / "bare" / "bin"), "PYTHONPATH": ""}
    install = ("-m", "pip", "install", "--quiet", "--only-binary", ":all:", str(repaired))
    session.run(bare, *install, env=empty, external=True)
    smoke = str(Path("tests", "smoke.py").resolve())
    with session.chdir(tmp):
        session.run(bare, "-I", smoke, env=empty, external=True)
    repaired.replace(Path("dist", repaired.name))
    session.log(f"dist/{repaired.name}")


def _install_group(session: nox.Session, name: str) -> None:
    groups = nox.project.load_toml("pyproject.toml")
    session.install("--quiet", *nox.project.dependency_groups(groups, name))
