"""Reads the files that `epollo bench --json` wrote."""

from __future__ import annotations

from pathlib import Path

from epollo.bench.results import partial
from epollo.bench.results.large import read_large
from epollo.bench.results.result import Result
from epollo.causes import cause_of
from epollo.errors import ResultFileError

_LARGE = 4 << 20  # bytes
_HEAD = 100  # characters


def read(path: str | Path) -> Result:
    """The result in the file. Raises ResultFileError that names the file."""
    try:
        if Path(path).stat().st_size > _LARGE and not _is_partial(Path(path)):
            return read_large(Path(path))
        text = Path(path).read_text(encoding="utf-8")
    except ResultFileError as error:
        raise ResultFileError(f"{path}: {error}") from None
    except OSError as error:
        raise ResultFileError(f"cannot read {path}: {cause_of(error)}") from None
    except UnicodeDecodeError:
        raise ResultFileError(f"{path}: not a result of epollo bench --json: not text") from None
    except ValueError as error:  # a null character
        raise ResultFileError(f"cannot read {str(path)!r}: {error}") from None
    try:
        return partial.of_text(text) if partial.is_partial(text) else Result.from_json(text)
    except ResultFileError as error:
        raise ResultFileError(f"{path}: {error}") from None


def _is_partial(path: Path) -> bool:
    with path.open(encoding="latin-1") as file:
        return partial.is_partial(file.read(_HEAD))


def read_side(path: str | Path) -> list[tuple[Path, Result]]:
    """The file and its result; or, for a directory, each file in it named ``*.json``: repeats of
    one run. Raises ResultFileError."""
    place = Path(path)
    if not place.is_dir():
        return [(place, read(place))]
    files = _files_in(place)
    found = [file for file in files if file.suffix == ".json"]
    unfinished = [file for file in files if file.name.endswith(f".json{partial.SUFFIX}")]
    if unfinished:
        raise ResultFileError(
            f"{unfinished[0]}: its run did not end; wait for it, or remove this file"
        )
    if not found:
        raise ResultFileError(
            f"{path}: no file in this directory is named *.json; write the result of each repeat "
            "there with epollo bench --json"
        )
    return [(file, _read_repeat(file)) for file in found]


def _files_in(directory: Path) -> list[Path]:
    try:
        return sorted(directory.iterdir())
    except OSError as error:
        raise ResultFileError(f"cannot read {directory}: {cause_of(error)}") from None


def _read_repeat(file: Path) -> Result:
    try:
        return read(file)
    except ResultFileError as error:
        raise ResultFileError(
            f"{error}; remove the file from {file.parent}, or repeat its run"
        ) from None
