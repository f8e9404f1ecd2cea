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


def test_a_long_text_is_no_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be a peer's, and is not compared, which would take long."""
    monkeypatch.setattr("difflib.get_close_matches", None)
    assert nearest("max_frame" * 1000, NAMES) == ""
