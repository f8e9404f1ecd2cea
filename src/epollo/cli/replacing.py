"""Files that are replaced by a whole new one, or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def replacing(path: str) -> Iterator[Path]:
    """The place to write the new content of the file ``path`` to. It becomes that file at the end,
    unless an error was raised. A device or a pipe is written to directly, and so is a file in a
    directory that takes no other file. Raises OSError."""
    target = Path(os.path.realpath(path))
    new = target.with_name(f"{target.name}.new")
    if (target.exists() and not target.is_file()) or not os.access(target.parent, os.W_OK):
        yield target
        return
    try:
        yield new
        _sync(new)
        if target.exists():
            shutil.copymode(target, new)
        new.replace(target)
    except BaseException:
        with suppress(OSError):
            new.unlink()
        raise


def _sync(file: Path) -> None:
    """Before its name is given to it: otherwise a crash could leave an empty file of that name."""
    descriptor = os.open(file, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
