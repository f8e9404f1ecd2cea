"""Results in files: what `epollo bench --json` wrote, read again."""

from __future__ import annotations

from pathlib import Path

from epollo.bench.result import Result
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


def read_side(path: str | Path) -> list[Result]:
    """The result in the file; or, of a directory, those in each file of it named ``*.json``: they
    are repeats of one run. Raises UsageError."""
    if not Path(path).is_dir():
        return [read(path)]
    found = sorted(Path(path).glob("*.json"))
    if not found:
        raise UsageError(f"{path}: no file in it is named *.json; write them by --json")
    return [read(file) for file in found]
