"""Output files of commands, checked before the work begins."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Iterable
from pathlib import Path

import click

from epollo.causes import cause_of
from epollo.cli.replacing import replacing
from epollo.errors import EpolloError, UsageError

STDOUT = "-"
_ESCAPE = "backslashreplace"
PICTURES = (".png", ".svg")


def check_writable(option: str, path: str | None) -> None:
    """Raises UsageError if ``path`` is not a writable file; None and "-" pass."""
    if path in (None, STDOUT):
        return
    file = Path(path)
    if file.is_dir():
        raise UsageError(f"{option} {path}: is a directory; name a file")
    if not file.parent.is_dir():
        raise UsageError(f"{option} {path}: there is no directory {file.parent}; make it first")
    if not os.access(file if file.exists() else file.parent, os.W_OK):
        raise UsageError(f"{option} {path}: not writable; choose another place")


def check_plot(path: str | None) -> None:
    """Raises UsageError for an unknown suffix, for a file that cannot be written, and without
    matplotlib.
    """
    if path is None:
        return
    if Path(path).suffix.lower() not in PICTURES:
        raise UsageError(f"--plot {path}: the name must end in {' or '.join(PICTURES)}")
    check_writable("--plot", path)
    check_installed("--plot", "matplotlib")


def check_page(path: str | None) -> None:
    """Raises UsageError for a file that cannot be written, and without the packages for it."""
    if path is None:
        return
    check_writable("--html", path)
    check_installed("--html", "matplotlib")
    check_installed("--html", "jinja2")


def check_installed(option: str, package: str, extra: str = "plot") -> None:
    """Raises UsageError without ``package``, which that extra of epollo installs."""
    if importlib.util.find_spec(package) is None:
        raise UsageError(f"{option} needs {package}: pip install 'epollo[{extra}]'")


def write_text(path: str, text: str) -> None:
    """Write ``text`` to the file, or to stdout for "-". Raises EpolloError."""
    write_parts(path, [text])


def write_parts(path: str, parts: Iterable[str]) -> None:
    """Write the ``parts`` of a text, one after the other, as `write_text` does: the file gets all
    of them or stays as it was."""
    if path == STDOUT:
        for part in parts:
            click.echo(part, nl=False)
        click.echo()
        return
    try:
        # A path in the text need not be text.
        with replacing(path) as new, new.open("w", encoding="utf-8", errors=_ESCAPE) as file:
            file.writelines(parts)
            file.write("\n")
    except OSError as error:
        raise EpolloError(f"cannot write {path}: {cause_of(error)}") from error


def write_each(*writes: Callable[[], object]) -> None:
    """Call each of them. Raises the errors of all that failed as one EpolloError, at the end."""
    errors: list[EpolloError] = []
    for write in writes:
        try:
            write()
        except EpolloError as error:
            errors.append(error)
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise EpolloError("; ".join(map(str, errors)))
