"""The name that somebody may have meant."""

from __future__ import annotations

import pytest

from epollo.suggestions import did_you_mean, nearest

NAMES = ["max_connections", "max_frame", "frame_timeout", "bind"]


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("max_conections", "max_connections"),
        ("maxframe", "max_frame"),
        ("max-frame", "max_frame"),
        ("MAX_FRAME", "max_frame"),
        ("frame_timout", "frame_timeout"),
        ("bnid", "bind"),
        ("colour", ""),
        ("", ""),
    ],
)
def test_the_nearest_name_is_found(typed: str, meant: str) -> None:
    assert nearest(typed, NAMES) == meant
    assert did_you_mean(typed, NAMES) == (f"did you mean {meant}?" if meant else "")
