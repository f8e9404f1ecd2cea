"""Reads the files that `epollo bench --json` wrote."""

from __future__ import annotations

from pathlib import Path

from epollo.bench.results.result import Result
from epollo.causes import cause_of
from epollo.errors import ResultFileError


def read(path: str | Path) -> Result:
    """The result in the file. Raises ResultFileError that names the file."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise ResultFileError(f"cannot read {path}: {cause_of(error)}") from None
    except UnicodeDecodeError:
        raise ResultFileError(f"{path}: not a result of epollo bench --json: not text") from None
    except ValueError as error:  # a null character
        raise ResultFileError(f"cannot read {str(path)!r}: {error}") from None
    try:
        return Result.from_json(text)
    except ResultFileError as error:
        raise ResultFileError(f"{path}: {error}") from None


def read_side(path: str | Path) -> list[tuple[Path, Result]]:
    """The file and its result; or, for a directory, each file in it named ``*.json``: repeats of
    one run. Raises ResultFileError."""
    place = Path(path)
    if not place.is_dir():
        return [(place, read(place))]
    found = sorted(place.glob("*.json"))
    if not found:
        raise ResultFileError(f"{path}: no file in this directory is named *.json")
    return [(file, read(file)) for file in found]
