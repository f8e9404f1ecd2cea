"""Any name of a group becomes one token of a subject, and no two names the same."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nats.aio.client import _validate_subject

from epollo.server.groups.cluster.subjects import LONGEST, subject_of, token_of

NAMES = [
    ("lobby", "lobby"),
    ("a.b", "a%2Eb"),
    ("a b", "a%20b"),
    ("*", "%2A"),
    (">", "%3E"),
    ("", "%"),
    ("%", "%25"),
    ("%2E", "%252E"),
    ("~", "%7E"),
    ("line\r\nbreak\0", "line%0D%0Abreak%00"),
    ("大厅", "%E5%A4%A7%E5%8E%85"),
    ("\udcff", "%ED%B3%BF"),  # a byte that is no UTF-8, as os.fsdecode gives it
]


@pytest.mark.parametrize(("name", "token"), NAMES)
def test_a_name_is_one_token(name: str, token: str) -> None:
    assert token_of(name) == token
    assert subject_of("epollo", name) == f"epollo.{token}"


@given(st.text(st.characters()) | st.text("%.~ *>a", max_size=6))
def test_nats_takes_the_token_of_any_name(name: str) -> None:
    token = token_of(name)
    assert re.fullmatch(r"[A-Za-z0-9_%-]+", token)
    _validate_subject(f"epollo.{token}", strict=True)


@given(st.text("%.2Ea~", max_size=5), st.text("%.2Ea~", max_size=5))
def test_two_names_have_two_tokens(one: str, other: str) -> None:
    assert (token_of(one) == token_of(other)) == (one == other)


def test_a_long_name_is_hashed() -> None:
    longest, longer = "x" * LONGEST, "x" * (LONGEST + 1)
    assert token_of(longest) == longest
    tokens = {token_of(longer), token_of(longer + "x"), token_of("." * LONGEST)}
    assert len(tokens) == 3
    assert all(len(token) <= LONGEST and token.startswith("%%") for token in tokens)
