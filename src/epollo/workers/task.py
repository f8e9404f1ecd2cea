"""What every worker serves."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field, replace

from epollo.settings import Settings
from epollo.tls import server_context


@dataclass
class Task:
    """An application, as ``module:attribute`` or None for the built-in echo; the name to show for
    it; and the settings."""

    path: str | None
    name: str | None
    settings: Settings
    _context: ssl.SSLContext | None = field(default=None, init=False)

    def load_certificates(self) -> None:
        """Make the TLS context that all workers inherit, or read its files anew. Raises
        SettingError; then an earlier context goes on.

        The keys of session tickets are in the context. All workers have the same, so a client may
        resume its session with any of them. New certificates are loaded into the same context, to
        keep these keys; but a file of CAs needs a new one, since none can be taken out.
        """
        settings = self.settings
        if not settings.tls_cert:
            return
        fresh = server_context(settings.tls_cert, settings.tls_key, settings.tls_ca)
        if self._context is None or settings.tls_ca:
            self._context = fresh
        else:
            self._context.load_cert_chain(settings.tls_cert, settings.tls_key or None)

    @property
    def worker_settings(self) -> Settings:
        """The settings of a worker's server: with the context instead of its files."""
        if self._context is None:
            return self.settings
        return replace(self.settings, tls=self._context, tls_cert="", tls_key="", tls_ca="")
