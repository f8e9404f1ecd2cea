"""Settings."""

from __future__ import annotations

from typing import Any

import pytest

from epollo.errors import SettingError
from epollo.settings import Settings, chosen_settings, settings_from


def test_text_and_numbers_mean_the_same() -> None:
    assert Settings(max_frame=65536) == Settings(max_frame="64KiB")
    assert Settings(graceful_timeout="1500ms").graceful_timeout == 1.5


def test_defaults_are_those_of_the_documentation() -> None:
    settings = Settings()
    assert settings.bind == ("127.0.0.1:8091",)
    assert (settings.framing, settings.engine, settings.backlog) == ("u32", "auto", 2048)
    assert (settings.max_frame, settings.high_water) == (1 << 20, 64 << 10)
    assert (settings.threads, settings.in_flight, settings.ordered) == (0, 1, True)
    assert (settings.max_unsent, settings.graceful_timeout) == (16 << 20, 30.0)
    assert (settings.max_connections, settings.max_per_ip) == (0, 0)
    assert (settings.keepalive, settings.socket_mode) == (60.0, None)


@pytest.mark.parametrize(("value", "limit"), [("none", 0), (0, 0), ("10k", 10_000), (7, 7)])
def test_a_limit_of_none_is_no_limit(value: Any, limit: int) -> None:
    settings = settings_from(max_connections=value, max_per_ip=value)
    assert (settings.max_connections, settings.max_per_ip) == (limit, limit)


@pytest.mark.parametrize(
    ("value", "mode"), [("660", 0o660), ("0600", 0o600), (0o600, 0o600), ("umask", None), (0, 0)]
)
def test_a_mode_is_octal(value: Any, mode: int | None) -> None:
    assert settings_from(socket_mode=value).socket_mode == mode


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"max_frame": "huge"}, "max_frame: 'huge' is not a size"),
        ({"max_frame": 0}, "max_frame: must be at least 1"),
        ({"backlog": "many"}, "backlog: 'many' is not a count"),
        ({"graceful_timeout": "soon"}, "graceful_timeout: 'soon' is not a time"),
        ({"max_connections": "unlimited"}, "max_connections: 'unlimited' is not a count"),
        ({"frame_timeout": "never"}, "frame_timeout: 'never' is not a time such as 250ms, 10s or"),
        ({"max_per_ip": -1}, "max_per_ip: -1 is not a count"),
        ({"keepalive": "500ms"}, "keepalive: '500ms' is neither 0 nor from 1s to 32767s"),
        ({"keepalive": "10h"}, "keepalive: '10h' is neither 0 nor from 1s to 32767s"),
        ({"socket_mode": "rw"}, "socket_mode: 'rw' is not a mode such as '660', in octal"),
        ({"socket_mode": 660}, "socket_mode: 660 is not a mode such as '660', in octal"),
        ({"socket_mode": "1777"}, "socket_mode: '1777' is not a mode"),
        ({"log_level": "loud"}, "log_level: 'loud' is not one of debug"),
        ({"in_flight": 0}, "in_flight: must be at least 1"),
        ({"in_flight": "100k"}, "in_flight: .*, and less than 65536"),
        ({"threads": 1024}, "threads: must be less than 1024"),
        ({"ordered": "maybe"}, "ordered: 'maybe' is neither yes nor no"),
        ({"loop": "trio"}, "loop: 'trio' is not one of auto, asyncio, uvloop"),
        ({"maxframe": 1}, "no setting 'maxframe': did you mean max_frame?"),
    ],
)
def test_an_impossible_setting_is_named(values: dict[str, Any], why: str) -> None:
    with pytest.raises(SettingError, match=why):
        settings_from(**values)


def test_settings_are_taken_whole() -> None:
    settings = Settings(max_frame="64KiB", bind="127.0.0.1:1")
    assert chosen_settings(settings, None, {}) == settings
    other = chosen_settings(settings, ["127.0.0.1:2"], {})
    assert (other.bind, other.max_frame) == (("127.0.0.1:2",), 65536)


@pytest.mark.parametrize(
    ("settings", "bind", "values", "why"),
    [
        (Settings(), None, {"max_frame": 9}, "max_frame: settings is given too; set max_frame in"),
        ({"max_frame": 9}, None, {}, "settings: {'max_frame': 9} is not an epollo.Settings"),
        (Settings(), 8091, {}, "^bind: "),
        (None, 8091, {}, "^bind: "),
    ],
)
def test_settings_are_not_taken_with_others(
    settings: Any, bind: Any, values: Any, why: str
) -> None:
    with pytest.raises(SettingError, match=why):
        chosen_settings(settings, bind, values)
