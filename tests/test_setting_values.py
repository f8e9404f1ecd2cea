"""The types that a setting may be given as are those that its parser takes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Any, get_type_hints

import pytest

from epollo.setting_values import SettingValues
from epollo.settings import Settings

HINTS = get_type_hints(SettingValues)


def test_every_setting_has_its_types() -> None:
    assert set(HINTS) == {setting.name for setting in fields(Settings)}


@pytest.mark.parametrize("setting", fields(Settings), ids=lambda setting: setting.name)
def test_a_setting_may_be_given_as_what_its_parser_takes(setting: Any) -> None:
    assert HINTS[setting.name] == _taken(setting.metadata["parse"])


@pytest.mark.parametrize("setting", fields(Settings), ids=lambda setting: setting.name)
def test_a_setting_may_be_given_as_what_it_was_parsed_to(setting: Any) -> None:
    value: Any = getattr(Settings(), setting.name)
    assert getattr(Settings(**{setting.name: value}), setting.name) == value


def _taken(parse: Callable[..., Any]) -> Any:
    """The type of the parameter of ``parse``."""
    if parse is str:
        return str
    hints = get_type_hints(parse)
    hints.pop("return")
    (taken,) = hints.values()
    return taken
