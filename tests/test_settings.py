"""Settings: one dataclass for all who set them."""

from __future__ import annotations

from typing import Any

import pytest

from epollo.errors import SettingError
from epollo.settings import Settings, settings_from


def test_text_and_numbers_mean_the_same() -> None:
    assert Settings(max_frame=65536) == Settings(max_frame="64KiB")  # type: ignore[arg-type]
    assert Settings(graceful_timeout="1500ms").graceful_timeout == 1.5  # type: ignore[arg-type]


def test_defaults_are_those_of_the_documentation() -> None:
    settings = Settings()
    assert settings.bind == ("127.0.0.1:8091",)
    assert (settings.framing, settings.engine, settings.backlog) == ("u32", "auto", 2048)
    assert (settings.max_frame, settings.high_water) == (1 << 20, 64 << 10)
    assert (settings.max_unsent, settings.graceful_timeout) == (16 << 20, 30.0)


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"max_frame": "huge"}, "max_frame: 'huge' is not a size"),
        ({"max_frame": 0}, "max_frame: must be at least 1"),
        ({"backlog": "many"}, "backlog: 'many' is not a count"),
        ({"graceful_timeout": "soon"}, "graceful_timeout: 'soon' is not a time"),
        ({"log_level": "loud"}, "log_level: 'loud' is not one of debug"),
        ({"maxframe": 1}, "no setting 'maxframe'; there are backlog, "),
    ],
)
def test_an_impossible_setting_is_named(values: dict[str, Any], why: str) -> None:
    with pytest.raises(SettingError, match=why):
        settings_from(**values)
