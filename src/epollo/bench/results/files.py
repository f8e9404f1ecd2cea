"""Results in files: what `epollo bench --json` wrote, read again."""

from __future__ import annotations

from pathlib import Path

from epollo.bench.results.result import Result
from epollo.errors import SettingError, UsageError


def read(path: str | Path) -> Result:
    """The result in the file. Raises UsageError that names it where there is none in it."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{path}: not a result of epollo bench --json: no text") from None
    try:
        return Result.from_json(text)
    except SettingError as error:
        raise SettingError(f"{path}: {error}") from None


def read_side(path: str | Path) -> list[tuple[Path, Result]]:
    """The file and its result; or, of a directory, each file in it named ``*.json``: they are
    repeats of one run. Raises UsageError."""
    place = Path(path)
    if not place.is_dir():
        return [(place, read(place))]
    found = sorted(place.glob("*.json"))
    if not found:
        raise UsageError(f"{path}: no file in this directory is named *.json")
    return [(file, read(file)) for file in found]
