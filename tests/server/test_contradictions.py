"""Settings that contradict each other are refused if they were given, and only then."""

from __future__ import annotations

from typing import Any

import pytest

from epollo import Server, SettingError
from epollo.server.contradictions import CONTRADICTIONS
from tests.certificates import server_context

UNIX = "unix:no-file-is-made"


def plain(message: bytes) -> bytes:
    return message


async def later(message: bytes) -> bytes:
    return message


REFUSED: list[tuple[Any, dict[str, Any]]] = [
    (plain, {"high_water": "32MiB"}),
    (plain, {"access_log": "log", "log_level": "error"}),
    (plain, {"high_water": "64KiB", "max_unsent": "32KiB"}),
    (plain, {"max_per_ip": 10, "max_connections": 5}),
    (plain, {"max_memory": "512KiB"}),
    (plain, {"drain_quiet": "31s"}),
    (plain, {"goodbye_over": "2s", "graceful_timeout": "1s"}),
    (plain, {"max_per_ip": 10, "bind": UNIX}),
    (plain, {"max_connect_rate_per_ip": 10, "bind": UNIX}),
    (plain, {"handler_timeout": "1s"}),
    (plain, {"keepalive": "60s", "bind": UNIX}),
    (plain, {"socket_mode": "660"}),
    (plain, {"socket_mode": "660", "bind": "unix:@abstract"}),
    (plain, {"backlog": 2048, "bind": "fd://3"}),
    (plain, {"tls_client_certs": "optional"}),
    (plain, {"tls_start": "handler"}),
    (plain, {"tls_min_version": "1.3"}),
    (plain, {"tls_timeout": "10s"}),
    (plain, {"in_flight": 2}),
    (plain, {"ordered": False}),
    (later, {"ordered": False}),
    (plain, {"ordered": False, "threads": 2}),
    (plain, {"loop": "asyncio"}),
    (plain, {"balance": "exact"}),
    (plain, {"worker_timeout": "30s"}),
    (plain, {"boot_timeout": "2m"}),
    (plain, {"max_worker_age": "1h"}),
    (plain, {"max_worker_messages": "1m"}),
    (plain, {"max_worker_memory": "1GiB"}),
]
ACCEPTED: list[tuple[Any, dict[str, Any]]] = [
    (plain, {"max_unsent": "32KiB"}),  # below the default of high_water, which nobody gave
    (plain, {"high_water": "1MiB", "max_unsent": "1MiB"}),
    (plain, {"max_per_ip": 5, "max_connections": 5}),
    (plain, {"max_memory": "512KiB", "max_frame": "512KiB"}),
    (plain, {"max_memory": "none", "graceful_timeout": "100ms"}),
    (plain, {"drain_quiet": "30s", "goodbye_over": "30s"}),
    (plain, {"max_per_ip": 0, "max_connections": 5}),
    (plain, {"max_per_ip": 10, "bind": [UNIX, "127.0.0.1:0"]}),
    (plain, {"max_per_ip": 10, "bind": UNIX, "proxy_protocol": "required"}),
    (plain, {"max_connect_rate_per_ip": 10, "bind": UNIX, "proxy_protocol": "required"}),
    (plain, {"max_connect_rate_per_ip": "none", "bind": UNIX}),
    (plain, {"handler_timeout": "1s", "threads": 2}),
    (plain, {"handler_timeout": 0}),
    (later, {"handler_timeout": "1s"}),
    (plain, {"worker_timeout": 0}),
    (plain, {"keepalive": 0, "bind": UNIX}),
    (plain, {"socket_mode": "umask"}),
    (plain, {"socket_mode": "660", "bind": ["127.0.0.1:0", UNIX]}),
    (plain, {"backlog": 5, "bind": ["fd://3", "127.0.0.1:0"]}),
    (plain, {"tls_timeout": "10s", "proxy_protocol": "optional"}),
    (plain, {"in_flight": 1, "ordered": True, "loop": "auto", "threads": 0}),
    (plain, {"in_flight": 4, "ordered": False, "threads": 2}),
    (later, {"in_flight": 4, "ordered": False, "loop": "asyncio"}),
]


def _id(value: Any) -> str:
    return value.__name__ if callable(value) else ", ".join(f"{k}={v}" for k, v in value.items())


@pytest.mark.parametrize(("handler", "settings"), REFUSED, ids=_id)
def test_a_contradiction_names_the_setting_and_the_fix(
    handler: Any, settings: dict[str, Any]
) -> None:
    first = next(iter(settings))
    with pytest.raises(SettingError, match=rf"^{first}: .*; ") as refused:
        Server(handler, **settings)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(("handler", "settings"), ACCEPTED, ids=_id)
def test_what_is_no_contradiction_is_accepted(handler: Any, settings: dict[str, Any]) -> None:
    Server(handler, **settings)


def test_a_context_takes_a_timeout_and_no_file() -> None:
    Server(plain, tls=server_context(), tls_timeout="10s")
    with pytest.raises(SettingError, match=r"^tls_ca: the context given as tls has its own"):
        Server(plain, tls=server_context(), tls_ca="ca.pem")


def test_every_contradiction_is_tried() -> None:
    assert {each.setting for each in CONTRADICTIONS} == {
        next(iter(settings)) for _, settings in REFUSED
    }


def test_a_default_is_never_refused() -> None:
    for handler in (plain, later):
        for bind in ("127.0.0.1:0", UNIX, "fd://3"):
            Server(handler, bind)
