"""What every worker serves."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from epollo.server.certificates import Certificates
from epollo.server.log_limiter import LogLimiter
from epollo.settings import Settings


@dataclass
class Task:
    """An application, as ``module:attribute`` or None for the built-in echo, or the ``factory`` of
    one; the name to show for it; and the settings."""

    path: str | None
    factory: bool
    name: str | None
    settings: Settings
    certificates: Certificates | None = field(default=None, init=False)
    node: bytes = field(default_factory=lambda: os.urandom(8), init=False)
    """What the workers of this supervisor have in common, for the broker."""

    def load_certificates(self) -> None:
        """Make the TLS context that workers inherit; later, anew if its files have changed. Raises
        SettingError; then an earlier context stays.

        The keys of session tickets are in the context. All workers have the same, so a client may
        resume its session with any of them.
        """
        if self.certificates is None or self.certificates.changed:
            self.certificates = Certificates(self.settings, LogLimiter())
