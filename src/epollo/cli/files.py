"""Files that commands write: checked before the work begins, not when it is done."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import click

from epollo.errors import EpolloError, UsageError

STDOUT = "-"
PICTURES = (".png", ".svg")


def check_writable(option: str, path: str | None) -> None:
    """Raises UsageError where no file could be written to ``path``; None and "-" are no files."""
    if path in (None, STDOUT):
        return
    file = Path(path)
    if file.is_dir():
        raise UsageError(f"{option} {path}: is a directory; name a file")
    if not file.parent.is_dir():
        raise UsageError(f"{option} {path}: there is no directory {file.parent}; make it first")
    if not os.access(file if file.exists() else file.parent, os.W_OK):
        raise UsageError(f"{option} {path}: may not be written; choose another place")


def check_plot(path: str | None) -> None:
    """Raises UsageError for a suffix that names no picture, where no file could be written
    there, and where matplotlib is missing.
    """
    if path is None:
        return
    if Path(path).suffix.lower() not in PICTURES:
        raise UsageError(f"--plot {path}: the name must end in {' or '.join(PICTURES)}")
    check_writable("--plot", path)
    check_installed("--plot", "matplotlib")


def check_page(path: str | None) -> None:
    """Raises UsageError where no page could be written there, and where what draws it is
    missing.
    """
    if path is None:
        return
    check_writable("--html", path)
    check_installed("--html", "matplotlib")
    check_installed("--html", "jinja2")


def check_installed(option: str, package: str) -> None:
    """Raises UsageError where there is no such package, which comes with epollo's extra `plot`."""
    if importlib.util.find_spec(package) is None:
        raise UsageError(f"{option} needs {package}: pip install 'epollo[plot]'")


def write_text(path: str, text: str) -> None:
    """Write ``text`` to the file, or to stdout for "-". Raises EpolloError."""
    if path == STDOUT:
        click.echo(text)
        return
    try:
        Path(path).write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise EpolloError(f"cannot write {path}: {error.strerror}") from error
