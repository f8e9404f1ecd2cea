"""A worker class for gunicorn: ``gunicorn -k epollo.gunicorn.EpolloWorker app:handle``.

gunicorn's arbiter owns the listening sockets and the processes; each worker is a server of epollo
on these sockets. What gunicorn has settings for is gunicorn's; all else comes from EPOLLO_
variables of the environment, which gunicorn's ``raw_env`` may set.
"""

from __future__ import annotations

import logging
import os
import re
import signal
import ssl
from contextlib import AbstractContextManager
from typing import Any

from gunicorn.errors import AppImportError
from gunicorn.workers.base import Worker

from epollo.cli.environment import PREFIX, check_names
from epollo.descriptors import all_descriptors
from epollo.errors import EpolloError, SettingError
from epollo.plurals import counted
from epollo.server.handlers.application import load_application
from epollo.server.handlers.handler import Handler
from epollo.server.server import Server
from epollo.settings import Settings, given_by_commands, settings_from, takes_several

_PERIOD = 1.0  # seconds between two beats, at most
_SPARE = 1.0  # seconds by which a stop ends earlier than the arbiter kills the worker

_OF_GUNICORN = {
    "bind": "bind",
    "backlog": "backlog",
    "socket_mode": "umask",
    "workers": "workers",
    "worker_timeout": "timeout",
    "boot_timeout": "timeout",
    "graceful_timeout": "graceful_timeout",
    "max_worker_age": "",
    "max_worker_messages": "max_requests",
    "max_worker_memory": "",
    "drain_delay": "",
    "user": "user",
    "group": "group",
    "pid_file": "pidfile",
    "process_name": "proc_name",
    "log_level": "loglevel",
    "tls_cert": "certfile",
    "tls_key": "keyfile",
    "tls_ca": "ca_certs",
    "tls_client_certs": "cert_reqs",
    "tls_ciphers": "ciphers",
}
"""Settings of epollo that do not apply here, and gunicorn's instead."""

_CLIENT_CERTS = {ssl.CERT_OPTIONAL: "optional", ssl.CERT_REQUIRED: "required"}


class EpolloWorker(Worker):
    """Serves the application on the sockets of gunicorn's arbiter."""

    def load_wsgi(self) -> None:
        """Load the application, and read the settings: both may be wrong."""
        try:
            self._settings = _settings(self.cfg)
            path = getattr(self.app, "app_uri", None)
            handler: Any
            if path is None or self.cfg.preload_app:
                handler = self.app.wsgi()
            else:  # an object with hooks too, which gunicorn itself refuses: it is not callable
                handler = load_application(path, factory=False)
            self._server = _ArbiterServer(self, handler, path, self._settings)
        except EpolloError as error:
            raise AppImportError(f"epollo: error: {error}") from error

    def init_signals(self) -> None:
        super().init_signals()
        signal.set_wakeup_fd(-1)  # the loop has its own

    def run(self) -> None:
        """Serve until the arbiter's signal, or until the arbiter is gone."""
        log = logging.getLogger("epollo")
        log.handlers, log.propagate = self.log.error_log.handlers, False
        log.setLevel(self.log.error_log.level)
        with all_descriptors():
            self._server.start()
            self._server.run()


class _ArbiterServer(Server):
    """A server on the sockets of the arbiter, which sends it signals and reads its heartbeat."""

    def __init__(
        self, worker: EpolloWorker, handler: Handler, name: str | None, settings: Settings
    ) -> None:
        super().__init__(handler, name=name, settings=settings)
        self._worker = worker
        self._listeners.use([getattr(each, "sock", each) for each in worker.sockets])

    def _check_workers(self) -> None:
        """The arbiter has them."""

    def start(self) -> None:
        super().start()
        self._started.call_threadsafe(self._beat)

    def signals(self) -> AbstractContextManager[None]:
        return self._signals.handled(
            self._on_signal, (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)
        )

    def _on_signal(self, number: int) -> bool:
        if number == signal.SIGTERM:
            self.stop()
        else:
            self._worker.cfg.worker_int(self._worker)
            self.stop(quick=True)
        return True

    def _beat(self) -> None:
        """The loop turns: tell the arbiter, and look whether it is there."""
        worker = self._worker
        worker.notify()
        count = self._protocol.message_count
        if not worker.alive:
            self._leave("it was told to stop while it booted")
        elif worker.ppid != os.getppid():
            self._leave("the arbiter is gone")
        elif count is not None and count.total >= worker.max_requests:
            self._leave(f"max_requests: it has received {counted(count.total, 'message')}")
        loop = self._loop
        if loop is not None:
            period = min(worker.timeout / 2, _PERIOD) if worker.timeout else _PERIOD
            loop.call_later(period, self._beat)

    def _leave(self, why: str) -> None:
        if not self._shutdown.asked:
            self._worker.log.info("Worker %s drains: %s", self._worker.pid, why)
            self.stop()


def _settings(cfg: Any) -> Settings:
    """The settings of a worker. Raises SettingError."""
    known = {setting.name: setting for setting in given_by_commands()}
    check_names(PREFIX, list(known), "serve", [f"{PREFIX}BENCH_"])
    given: dict[str, Any] = {}
    for name, setting in known.items():
        text = os.environ.get(PREFIX + name.upper(), "")
        if not text:
            continue
        if name in _OF_GUNICORN:
            instead = _OF_GUNICORN[name]
            fix = f"set gunicorn's {instead}" if instead else "gunicorn has no such setting"
            raise SettingError(
                f"{PREFIX}{name.upper()} does not apply to gunicorn's workers: {fix}"
            )
        given[name] = re.split(r"[,\s]+", text) if takes_several(setting) else text
    if cfg.proxy_protocol not in ("off", False):
        raise SettingError(f"gunicorn's proxy_protocol: set {PREFIX}PROXY_PROTOCOL instead")
    return settings_from(**given, **_from_gunicorn(cfg))


def _from_gunicorn(cfg: Any) -> dict[str, Any]:
    values: dict[str, Any] = {
        "workers": max(1, cfg.workers),
        "graceful_timeout": max(0.0, cfg.graceful_timeout - _SPARE),
    }
    if cfg.max_requests:
        values["max_worker_messages"] = cfg.max_requests  # so they are counted
    for name in ("tls_cert", "tls_key", "tls_ciphers"):
        if value := getattr(cfg, _OF_GUNICORN[name]):
            values[name] = value
    if cfg.cert_reqs in _CLIENT_CERTS:
        values |= {"tls_ca": cfg.ca_certs, "tls_client_certs": _CLIENT_CERTS[cfg.cert_reqs]}
    return values
