"""Files that commands write: checked before the work begins, not when it is done."""

from __future__ import annotations

import os
from pathlib import Path

import click

from epollo.errors import EpolloError, UsageError

STDOUT = "-"


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


def write_text(path: str, text: str) -> None:
    """Write ``text`` to the file, or to stdout for "-". Raises EpolloError."""
    if path == STDOUT:
        click.echo(text)
        return
    try:
        Path(path).write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise EpolloError(f"cannot write {path}: {error.strerror}") from error
