"""The TLS context of new connections, made anew when one of its files has changed.

A file may be written in place, replaced by another one, or be a symbolic link that is set to
another file or directory, as certbot and Kubernetes do. Connections keep the context they began
with.
"""

from __future__ import annotations

import copy
import logging
import ssl
import time
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

from epollo.engine import EventLoop
from epollo.errors import SettingError
from epollo.server.log_limiter import LogLimiter
from epollo.settings import Settings
from epollo.tls import server_context

PERIOD = 1.0  # seconds from one look at the files to the next
MOST_UNSETTLED = (
    10.0  # seconds that files may change at every look before they are read all the same
)
RETRY = 60.0  # seconds after which files that could not be used are tried again, though unchanged

_States: TypeAlias = tuple[tuple[int, ...] | None, ...]
"""For each file what changes with its content; None if it is not there."""


class Certificates:
    """Owns the context for new connections of one server. Raises SettingError if its files cannot
    be used. A context that was given in Python stays as it is."""

    def __init__(self, settings: Settings, log: LogLimiter) -> None:
        self._settings = _absolute(settings)
        self._files = _files(self._settings)
        self._log = log
        self._loop: EventLoop | None = None
        self._loaded = self._seen = _states(self._files)
        self._settled = time.monotonic()  # when the files were last found unchanged
        self._failed: float | None = None  # when they could not be used, if they cannot
        self.context: ssl.SSLContext | None = _context(settings) if self._files else settings.tls

    @property
    def changed(self) -> bool:
        """Have the files changed since they were read?"""
        return _states(self._files) != self._loaded

    def shared(self, log: LogLimiter) -> Certificates:
        """The same context, for a server in a process forked from this one: the keys of its session
        tickets are the same in all of them. The server watches the files by itself."""
        other = copy.copy(self)
        other._log = log
        return other

    def begin(self, loop: EventLoop) -> None:
        """Watch the files as long as ``loop`` runs."""
        if self._files:
            self._loop = loop
            if self.changed:  # since this object was made
                self.reload()
            self._wait(loop)

    def reload(self) -> None:
        """Read the files now. If they cannot be used, log why and keep the context."""
        if not self._files:
            return
        self._loaded = self._seen = _states(self._files)
        try:
            self.context = _context(self._settings)
        except SettingError as error:
            self._failed = time.monotonic()
            self._log.log(
                "tls files unusable",
                logging.ERROR,
                "%s; new connections still get the certificates from before",
                error,
            )
        else:
            self._failed = None
            names = ", ".join(map(repr, self._settings.tls_cert))
            self._log.log("tls files read", logging.INFO, "TLS: read %s anew", names)

    def _wait(self, loop: EventLoop) -> None:
        loop.call_later(PERIOD, self._look)

    def _look(self) -> None:
        assert self._loop is not None
        self._wait(self._loop)
        before, self._seen = self._seen, _states(self._files)
        # A file that has just changed may not be complete, nor its key be there: wait for one more
        # look. So a later change has another time, even by a coarse clock.
        now = time.monotonic()
        if self._seen == before:
            self._settled = now
        elif now - self._settled < MOST_UNSETTLED:
            return
        overdue = self._failed is not None and now - self._failed >= RETRY
        if self._seen != self._loaded or overdue:
            self.reload()


def _context(settings: Settings) -> ssl.SSLContext:
    return server_context(
        settings.tls_cert,
        settings.tls_key,
        settings.tls_ca,
        key_password_file=settings.tls_key_password_file,
        crl=settings.tls_crl,
        client_certs=settings.tls_client_certs,
        alpn=settings.tls_alpn,
        min_version=settings.tls_min_version,
        ciphers=settings.tls_ciphers,
    )


def _absolute(settings: Settings) -> Settings:
    """With paths that stay right if the process changes its directory."""

    def absolute(path: str) -> str:
        return str(Path(path).absolute()) if path else ""

    return replace(
        settings,
        tls_cert=tuple(map(absolute, settings.tls_cert)),
        tls_key=tuple(map(absolute, settings.tls_key)),
        tls_key_password_file=absolute(settings.tls_key_password_file),
        tls_ca=absolute(settings.tls_ca),
        tls_crl=absolute(settings.tls_crl),
    )


def _files(settings: Settings) -> list[str]:
    if not settings.tls_cert:
        return []
    others = (settings.tls_key_password_file, settings.tls_ca, settings.tls_crl)
    return list(filter(None, (*settings.tls_cert, *settings.tls_key, *others)))


def _states(files: list[str]) -> _States:
    return tuple(map(_state, files))


def _state(file: str) -> tuple[int, ...] | None:
    try:
        found = Path(file).stat()
    except OSError:
        return None
    # The time of the inode too: copies may keep the time of the content.
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
