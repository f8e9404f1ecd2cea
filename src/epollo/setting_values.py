"""What each setting may be given as, in types: the keyword arguments of `epollo.serve`.

A type checker does not run the program, so names and types are written out here.
`tests/test_setting_values.py` compares them with `epollo.Settings`, whose parsers say what they
take.
"""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import TypeAlias, TypedDict

from epollo.framing import AnyFraming

Addresses: TypeAlias = str | tuple[str, ...] | list[str]
"""One address to listen on, or several."""

Files: TypeAlias = str | Path | tuple[str | Path, ...] | list[str | Path]
"""One file, or several."""

Names: TypeAlias = str | tuple[str, ...] | list[str]
"""Names in one text, with commas, or a list of them."""


class ConnectionValues(TypedDict, total=False):
    """Every setting except ``bind``, ``framing`` and ``broker``. Sizes are bytes or text such as
    ``"64KiB"``, times seconds or ``"250ms"``, counts numbers or ``"10k"``."""

    workers: str | int
    engine: str
    poller: str
    backlog: str | int
    socket_mode: str | int | None
    keepalive: str | float
    max_connections: str | int
    max_per_ip: str | int
    max_connect_rate_per_ip: str | float
    max_message_rate: str | float
    tls_cert: Files
    tls_key: Files
    tls_key_password_file: str | Path
    tls_ca: str | Path
    tls_client_certs: str
    tls_crl: str | Path
    tls_alpn: Names
    tls_min_version: str | float
    tls_ciphers: str
    tls: ssl.SSLContext | None
    tls_timeout: str | float
    tls_start: str
    proxy_protocol: str
    max_frame: str | int
    high_water: str | int
    max_unsent: str | int
    max_memory: str | int
    idle_timeout: str | float
    frame_timeout: str | float
    write_timeout: str | float
    slow_handler: str | float
    handler_timeout: str | float
    threads: str | int
    in_flight: str | int
    ordered: str | bool
    loop: str
    graceful_timeout: str | float
    drain_quiet: str | float
    drain_delay: str | float
    goodbye_over: str | float
    balance: str
    worker_timeout: str | float
    boot_timeout: str | float
    max_worker_age: str | float
    max_worker_messages: str | int
    max_worker_memory: str | int
    user: str | int
    group: str | int
    pid_file: str | Path
    process_name: str
    log_level: str
    log_format: str
    log_file: str | Path
    access_log: str | Path
    metrics: str
    control: str | Path


class EmbeddedValues(ConnectionValues, total=False):
    """Every setting except ``bind`` and ``broker``, which are parameters of `epollo.Server`."""

    framing: AnyFraming


class ServerValues(EmbeddedValues, total=False):
    """Every setting except ``bind``, which is a parameter of its own."""

    broker: str


class SettingValues(ServerValues, total=False):
    """Every setting."""

    bind: Addresses
