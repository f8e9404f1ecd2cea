"""The user, pid file and name of a process that serves, and how many descriptors it may have."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from epollo.descriptors import SPARE
from epollo.errors import SettingError
from epollo.logs.logger import logger
from epollo.process_identity import (
    Identity,
    PidFile,
    become,
    give,
    identity,
    set_process_name,
)
from epollo.settings import Settings

_SETTINGS = ("user", "group", "pid_file", "process_name")

_log = logger("epollo.server")


class ServerProcess:
    """Applies these settings to a process that is only there to serve. Raises SettingError before
    anything is changed."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._identity = identity(settings.user, settings.group)
        self._pid_file = PidFile(settings.pid_file) if settings.pid_file else None

    def begin(self, socket_files: Sequence[str]) -> None:
        """The addresses are bound: write the pid file, then give up root. The files of Unix sockets
        are given to the new user, as they are removed at the end."""
        if self._settings.process_name:
            set_process_name(self._settings.process_name)
        files = list(socket_files)
        if self._pid_file is not None:
            self._pid_file.write()
            files.append(str(self._pid_file.path))
        if self._identity is not None:
            try:
                become_for(self._settings, self._identity, files)
            except SettingError:
                self._remove_pid_file()
                raise

    @contextmanager
    def ready(self) -> Iterator[None]:
        """The process serves for the ``with`` block; then its pid file is removed."""
        try:
            yield
        finally:
            self._remove_pid_file()

    def _remove_pid_file(self) -> None:
        if self._pid_file is not None and (left := self._pid_file.remove()):
            _log.warning(left)


def become_for(settings: Settings, wanted: Identity, files: Sequence[str] = ()) -> None:
    """Give ``files`` to the user and group of ``settings``, which are ``wanted``, and run as these
    from now on. Raises SettingError."""
    with _refused(settings):
        become(wanted, files)


def give_for(settings: Settings, wanted: Identity, files: Sequence[str]) -> None:
    """Give ``files`` to the user and group of ``settings``, which are ``wanted``. Raises
    SettingError."""
    with _refused(settings):
        give(files, wanted)


@contextmanager
def _refused(settings: Settings) -> Iterator[None]:
    """What the system refuses in the ``with`` block is a SettingError."""
    try:
        yield
    except OSError as error:
        raise SettingError(
            f"user: cannot become {settings.user or settings.group!r}: {error.strerror}; "
            "the process needs CAP_SETUID, CAP_SETGID and CAP_CHOWN"
        ) from None


def check_not_given(settings: Settings) -> None:
    """Raises SettingError for a setting that only `epollo.serve` and the command line apply."""
    for name in _SETTINGS:
        if getattr(settings, name):
            raise SettingError(
                f"{name}: is about the whole process, so only epollo.serve and the command line "
                "apply it; leave it out of epollo.Server"
            )


def check_descriptors(connections: int, limit: int) -> None:
    """Log a warning if this process may have fewer descriptors than ``connections`` take."""
    if connections and connections + SPARE > limit:
        _log.warning(
            "max_connections is %d, but the limit of descriptors allows about %d; "
            "raise ulimit -Hn, which is %d",
            connections,
            max(0, limit - SPARE),
            limit,
        )
