"""The settings about whole processes, applied to a supervisor and its workers.

As with gunicorn, the supervisor stays root if it was started so. It runs no code of the application
and reads nothing from the network. It needs root later too: to listen on a low port for one more
worker, and to read the key of a certificate anew. Each worker gives up root before it imports the
application.
"""

from __future__ import annotations

from collections.abc import Sequence

from epollo.logs.logger import logger
from epollo.process_identity import PidFile, identity, set_process_name
from epollo.server.process import become_for, give_for
from epollo.settings import Settings

_log = logger("epollo.supervisor")


class Processes:
    """Raises SettingError before anything is changed."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._identity = identity(settings.user, settings.group)
        self._pid_file = PidFile(settings.pid_file) if settings.pid_file else None

    def begin(self, socket_files: Sequence[str]) -> None:
        """The supervisor has bound the addresses. The files of Unix sockets are given to the
        workers' user, as without workers."""
        self._set_name("supervisor")
        if self._identity is not None:
            give_for(self._settings, self._identity, socket_files)

    def write_pid_file(self) -> None:
        """This supervisor is the one to send signals to. Raises SettingError."""
        if self._pid_file is not None:
            self._pid_file.write()

    def become_worker(self, index: int) -> None:
        """This process was forked for the slot at ``index``."""
        self._set_name(f"worker {index + 1}")
        if self._identity is not None:
            become_for(self._settings, self._identity)

    def end(self) -> None:
        """The supervisor ends, or hands over: remove the pid file."""
        if self._pid_file is not None and (left := self._pid_file.remove()):
            _log.warning(left)

    def _set_name(self, role: str) -> None:
        if self._settings.process_name:
            set_process_name(f"{self._settings.process_name}: {role}")
