"""Messages that come from a file, a folder or a pipe."""

from __future__ import annotations

import random
import stat
from pathlib import Path

from epollo import framing
from epollo.bench.load.payload import APART, Unnumbered
from epollo.causes import cause_of
from epollo.errors import EpolloError, FramingSpecError, SettingError

ORDERS = ("turn", "random")
_DRAWN = 4096  # messages drawn by chance, or four times as many as there are; then they repeat
_MOST = 1 << 30  # bytes of a pipe

_pipes: dict[str, bytes] = {}  # a pipe can be read only once, a workload can be run again


class FilePayload(Unnumbered):
    """The given messages in turn; each connection starts at another place. A reply is verified, but
    not matched to one message if others are equal, so wrong order is not noticed then, and
    repetition only shows in the number of replies."""

    def __init__(self, messages: list[bytes]) -> None:
        self.messages = messages

    def message(self, connection: int, number: int, intended: int) -> bytes:
        """The message ``number`` of ``connection``."""
        messages = self.messages
        return messages[(number + connection * APART) % len(messages)]


def messages_of(path: str, spec: str, order: str, seed: int) -> list[bytes]:
    """The messages of a payload, in the order in which they are sent.

    They are the content of the file, or of each file of a folder, by name. With ``spec``, each is
    decoded as a stream of that framing. ``order`` is "turn" or "random". Raises SettingError.
    """
    contents = [read(str(file)) for file in _files(path)]
    if spec:
        contents = [message for content in contents for message in _decoded(content, spec, path)]
    if not contents:
        raise SettingError(f"payload: {path!r} has no messages in it")
    if order == "turn" or len(contents) == 1:
        return contents
    chance = random.Random(seed)  # noqa: S311 (not for security)
    return chance.choices(contents, k=max(_DRAWN, 4 * len(contents)))


def size_of(path: str) -> int:
    """The size of the largest file of a payload, in bytes. Raises SettingError if there is none."""
    return max((_size(file) for file in _files(path)), default=0)


def read(path: str, name: str = "payload") -> bytes:
    """The content of the file of the setting ``name``. Raises SettingError."""
    try:
        if Path(path).is_fifo():
            return _read_pipe(path)
        return Path(path).read_bytes()
    except OSError as error:
        raise _unreadable(path, error, name) from None


def _read_pipe(path: str) -> bytes:
    if path not in _pipes:
        with Path(path).open("rb") as pipe:
            content = pipe.read(_MOST + 1)
        if len(content) > _MOST:
            raise SettingError(f"payload: {path!r} does not end within 1 GiB")
        _pipes[path] = content
    return _pipes[path]


def _files(path: str) -> list[Path]:
    """The file, or the files of the folder by name."""
    try:
        mode = Path(path).stat().st_mode
        if stat.S_ISDIR(mode):
            return sorted(file for file in Path(path).iterdir() if file.is_file())
    except OSError as error:
        raise _unreadable(path, error) from None
    if not (stat.S_ISREG(mode) or stat.S_ISFIFO(mode)):
        raise SettingError(f"payload: {path!r} is not a file, a folder or a pipe")
    return [Path(path)]


def _size(file: Path) -> int:
    try:
        return len(read(str(file))) if file.is_fifo() else file.stat().st_size
    except OSError as error:
        raise _unreadable(str(file), error) from None


def _decoded(content: bytes, spec: str, path: str) -> list[bytes]:
    try:
        decoder = framing.parse(spec, max(framing.DEFAULT_MAX_FRAME, len(content))).decoder()
        messages = decoder.feed(content)
        decoder.eof()
    except FramingSpecError as error:
        raise SettingError(f"payload_framing: {error}") from None
    except EpolloError as error:
        raise SettingError(f"payload: {path!r} is not a stream of {spec}: {error}") from None
    return messages


def _unreadable(path: str, error: OSError, name: str = "payload") -> SettingError:
    return SettingError(f"{name}: cannot read {path!r}: {cause_of(error)}")
