"""Messages that are the bytes of a file."""

from __future__ import annotations

import stat
from pathlib import Path

from epollo.bench.load.payload import Unnumbered
from epollo.causes import cause_of
from epollo.errors import SettingError


class FilePayload(Unnumbered):
    """Messages that are all the same: a reply is verified, but not matched to one message, so
    wrong order is not noticed, and repetition only shows in the number of replies."""

    def __init__(self, content: bytes) -> None:
        self.content = content

    def message(self, connection: int, number: int, intended: int) -> bytes:
        """The content of the file."""
        return self.content


def read(path: str, name: str = "payload") -> bytes:
    """The content of the file of the setting ``name``. Raises SettingError."""
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise _unreadable(path, error, name) from None


def size_of(path: str) -> int:
    """The size of the file in bytes. Raises SettingError if it is not a regular file."""
    try:
        found = Path(path).stat()
    except OSError as error:
        raise _unreadable(path, error) from None
    if not stat.S_ISREG(found.st_mode):
        raise SettingError(f"payload: {path!r} is not a file")
    return found.st_size


def _unreadable(path: str, error: OSError, name: str = "payload") -> SettingError:
    return SettingError(f"{name}: cannot read {path!r}: {cause_of(error)}")
