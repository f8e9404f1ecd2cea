"""Settings that contradict each other, or that would do nothing, and were given all the same.

Only settings that somebody gave are refused, never a default; and only if the contradiction is
certain. What one setting allows by itself is in `epollo.settings`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from epollo import address
from epollo.errors import SettingError
from epollo.server.handlers.application import Application
from epollo.settings import Settings


@dataclass(frozen=True, slots=True)
class Case:
    """What a contradiction depends on: the settings, the handler, and the addresses."""

    settings: Settings
    application: Application
    binds: Collection[address.Address]

    @property
    def plain(self) -> bool:
        """Does the handler run in the loop's thread, one message after the other?"""
        return not self.application.asynchronous and not self.settings.threads

    @property
    def only_unix(self) -> bool:
        """Are all addresses Unix sockets?"""
        return all(bind.path for bind in self.binds)

    @property
    def has_socket_file(self) -> bool:
        """Is one of the addresses the file of a Unix socket, not an abstract name?"""
        return any(bind.path and not bind.path.startswith("\0") for bind in self.binds)

    @property
    def filtered(self) -> bool:
        """Is there TLS or a PROXY header below the framing?"""
        settings = self.settings
        return bool(settings.tls_cert or settings.tls) or settings.proxy_protocol != "off"


@dataclass(frozen=True, slots=True)
class Contradiction:
    """A setting that is refused if it was given and ``applies`` is true.

    Attributes:
        setting: its name.
        applies: is it certain that the setting contradicts another, or does nothing?
        why: the reason and the fix.
    """

    setting: str
    applies: Callable[[Case], bool]
    why: str

    def check(self, case: Case, given: Collection[str]) -> None:
        """Raises SettingError if the setting contradicts another, or does nothing."""
        if self.setting in given and self.applies(case):
            raise SettingError(f"{self.setting}: {self.why}")


def _needs_workers(setting: str) -> Contradiction:
    return Contradiction(
        setting,
        lambda case: not case.settings.workers and bool(getattr(case.settings, setting)),
        "it is for workers, and there are none; give workers too, or leave it out",
    )


CONTRADICTIONS = (
    _needs_workers("balance"),
    _needs_workers("worker_timeout"),
    _needs_workers("boot_timeout"),
    _needs_workers("max_worker_age"),
    _needs_workers("max_worker_messages"),
    _needs_workers("max_worker_memory"),
    Contradiction(
        "high_water",
        lambda case: case.settings.high_water > case.settings.max_unsent,
        "is over max_unsent, at which the connection is closed; lower high_water, or raise "
        "max_unsent",
    ),
    Contradiction(
        "max_memory",
        lambda case: 0 < case.settings.max_memory < case.settings.max_frame,
        "is under max_frame, so that a single frame could be over it; raise max_memory, or lower "
        "max_frame",
    ),
    Contradiction(
        "max_memory",
        lambda case: 0 < case.settings.max_memory < case.settings.max_frame * case.settings.workers,
        "is divided among the workers, and the part of each is under max_frame; raise max_memory, "
        "or lower max_frame",
    ),
    Contradiction(
        "drain_quiet",
        lambda case: case.settings.drain_quiet > case.settings.graceful_timeout,
        "is over graceful_timeout, which ends all connections before; lower drain_quiet, or raise "
        "graceful_timeout",
    ),
    Contradiction(
        "goodbye_over",
        lambda case: case.settings.goodbye_over > case.settings.graceful_timeout,
        "is over graceful_timeout, which ends all connections before; lower goodbye_over, or raise "
        "graceful_timeout",
    ),
    Contradiction(
        "max_per_ip",
        lambda case: 0 < case.settings.max_connections < case.settings.max_per_ip,
        "is over max_connections, so it is never reached; lower max_per_ip, or raise "
        "max_connections",
    ),
    Contradiction(
        "max_per_ip",
        lambda case: (
            case.settings.max_per_ip > 0
            and case.only_unix
            and case.settings.proxy_protocol == "off"
        ),
        "a client of a Unix socket has no IP address; leave it out, or bind a HOST:PORT too",
    ),
    Contradiction(
        "max_connect_rate_per_ip",
        lambda case: (
            case.settings.max_connect_rate_per_ip > 0
            and case.only_unix
            and case.settings.proxy_protocol == "off"
        ),
        "a client of a Unix socket has no IP address; leave it out, or bind a HOST:PORT too",
    ),
    Contradiction(
        "handler_timeout",
        lambda case: case.plain and case.settings.handler_timeout > 0,
        "a plain handler runs in the loop's thread, and nothing can end it there; make it async, "
        "or give threads too",
    ),
    Contradiction(
        "keepalive",
        lambda case: case.settings.keepalive > 0 and case.only_unix,
        "Unix sockets have no TCP keepalive; leave it out, or use idle_timeout",
    ),
    Contradiction(
        "socket_mode",
        lambda case: case.settings.socket_mode is not None and not case.has_socket_file,
        "no address here is the file of a Unix socket; bind unix:PATH, or leave it out",
    ),
    Contradiction(
        "backlog",
        lambda case: all(bind.fd is not None for bind in case.binds),
        "a socket from another process has its own accept queue; leave it out, or set it there",
    ),
    Contradiction(
        "tls_timeout",
        lambda case: not case.filtered,
        "there is no TLS handshake and no PROXY header to wait for; give tls_cert or "
        "proxy_protocol too, or leave it out",
    ),
    Contradiction(
        "tls_start",
        lambda case: not (case.settings.tls_cert or case.settings.tls),
        "is for the certificates in tls_cert; give that too, or leave it out",
    ),
    Contradiction(
        "tls_client_certs",
        lambda case: not case.settings.tls_ca,
        "there is no CA to verify them with; give tls_ca too, or leave it out",
    ),
    Contradiction(
        "tls_min_version",
        lambda case: not case.settings.tls_cert,
        "is for the certificates in tls_cert; give that too, or leave it out",
    ),
    Contradiction(
        "in_flight",
        lambda case: case.plain and case.settings.in_flight > 1,
        "a plain handler handles one message at a time; make it async, or give threads too",
    ),
    Contradiction(
        "ordered",
        lambda case: case.plain and not case.settings.ordered,
        "replies of a plain handler are always in order; make it async, or give threads too",
    ),
    Contradiction(
        "ordered",
        lambda case: not case.settings.ordered and case.settings.in_flight == 1,
        "with one message in flight, replies cannot change their order; give in_flight over 1 too",
    ),
    Contradiction(
        "access_log",
        lambda case: (
            case.settings.access_log == "log" and case.settings.log_level in ("warning", "error")
        ),
        "its lines have level info, which log_level leaves out; give a file instead of log, or "
        "another log_level",
    ),
    Contradiction(
        "loop",
        lambda case: case.settings.loop != "auto" and not case.application.asynchronous,
        "only async handlers run on an asyncio loop; make the handler async, or leave it out",
    ),
)
"""A new setting that may contradict others adds a row here."""


def check(
    settings: Settings,
    given: Collection[str],
    application: Application,
    binds: Collection[address.Address],
) -> None:
    """Raises SettingError for the first of the settings ``given`` that contradicts another, or that
    does nothing."""
    case = Case(settings, application, binds)
    for each in CONTRADICTIONS:
        each.check(case, given)
